"""A connection to an upstream: one call at a time, its answer told to the call's sink as it comes.

What one read brought is told as one piece, however many chunks it was framed in. An answer is
trusted only as far as its framing is beyond doubt; a link serves again only after a clean end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from fleet.proxy.http.call import Call
from fleet.proxy.wire import Fault

log = logging.getLogger(__name__)

_COPIED = 16 << 10  # up to here one write of a copy is cheaper than several
_EMPTY = frozenset({204, 304})
_ENDING = frozenset({b"content-length", b"transfer-encoding"})


class Home(Protocol):
    """The pool that a link belongs to."""

    loop: asyncio.AbstractEventLoop
    head_limit: int

    def release(self, link: Link) -> None: ...
    def lost(self, link: Link) -> None: ...


class _Bad(Exception):
    """HTTP that cannot be trusted."""


class Link(asyncio.Protocol):
    __slots__ = (
        "_answered",
        "_done",
        "_fields",
        "_framing",
        "_got",
        "_heard",
        "_home",
        "_keep",
        "_moved",
        "_parser",
        "_served",
        "_status",
        "_told",
        "_unsent",
        "_until_close",
        "call",
        "on_body",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, home: Home) -> None:
        self.call: Call | None = None
        self._home = home
        self._got: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._got.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._served = False
        self._moved = 0.0
        self._reset()

    def _reset(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._status = 0  # of the final head, once it is whole
        self._told = self._done = self._keep = self._until_close = False
        self._heard = self._answered = False
        self._framing = self._unsent = 0

    # -- the pool's calls -------------------------------------------------------------------

    def start(self, call: Call, now: float) -> None:
        self.call = call
        call.carrier = self
        self._moved = now
        body = call.body
        if len(body) <= _COPIED:
            self.transport.write(call.head + body)
        else:
            self.transport.writelines((call.head, body))
        if call.is_paused:
            self.transport.pause_reading()

    def idle_for(self, now: float) -> float:
        """Seconds without a call."""
        return now - self._moved

    def check(self, now: float) -> None:
        call = self.call
        if call is None:
            return
        times = call.timeouts
        if self._heard:
            self._heard, self._answered, self._moved = False, True, now
        if now - call.started >= times.total:
            self._fail(Fault.TOTAL, f"no end after {times.total:g} s")
        elif call.is_paused:
            self._moved = now
        elif self._answered:
            if now - self._moved >= times.idle:
                self._fail(Fault.IDLE, f"no byte for {times.idle:g} s")
        elif self._is_sending():
            self._moved = now
        elif now - self._moved >= times.first_byte:
            self._fail(Fault.FIRST_BYTE, f"no answer for {times.first_byte:g} s")

    def _is_sending(self) -> bool:
        """The request still leaves: there is nothing to answer yet."""
        unsent = self.transport.get_write_buffer_size()
        moves = unsent != self._unsent
        self._unsent = unsent
        return moves

    # -- the call's -------------------------------------------------------------------------

    def drop(self, _call: Call) -> None:
        self.call = None
        self.transport.abort()

    def pause(self) -> None:
        self.transport.pause_reading()

    def resume(self) -> None:
        self.transport.resume_reading()

    # -- the transport's --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._moved = self._home.loop.time()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        call, parser = self.call, self._parser
        if call is None or parser is None:
            self.transport.abort()  # nobody asked
            return
        try:
            parser.feed_data(data)
            if self._got:
                self._framing = 0
            elif not self._done:
                self._bound(data)
        except (HttpParserError, HttpParserUpgrade, _Bad) as error:
            self._got.clear()
            self._fail(Fault.PROTOCOL, _why(error))
            return
        try:
            self._tell(call)
        except Exception:
            log.exception("the reader of an answer failed")
            self._fail(Fault.PROTOCOL, "its reader failed")

    def _tell(self, call: Call) -> None:
        if not self._told:
            if not self._status:
                return
            self._told = True
            call.sink.head(self._status, tuple(self._fields))
        got = self._got
        if got:
            data = got[0] if len(got) == 1 else b"".join(got)
            got.clear()
            call.sink.data(data)  # nobody's, if it was cancelled meanwhile
        if self._done and not call.is_over:
            self._finish(call)

    def eof_received(self) -> None:
        call = self.call
        if call is not None and self._until_close:
            self._done, self._keep = True, False
            self._finish(call)

    def connection_lost(self, exc: Exception | None) -> None:
        self._home.lost(self)
        self._parser = None  # which holds us
        self._fail(Fault.RESET, str(exc or "the connection was closed"))

    # -- the parser's -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._done:
            raise _Bad("more than the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # else a trailer, which nobody waits for
            self._fields.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        parser, call = self._parser, self.call
        assert parser is not None
        status: int = parser.get_status_code()
        if 100 <= status < 200:
            self._fields = []
            return
        if not 200 <= status < 600 or not parser.get_http_version().startswith("1."):
            raise _Bad("a status or version that is none")
        ending = [pair for pair in self._fields if pair[0] in _ENDING]
        if len(ending) > 1 or (
            ending and ending[0][0] == b"transfer-encoding" and ending[0][1].lower() != b"chunked"
        ):
            raise _Bad("an answer whose end cannot be told")
        self._status = status
        if call is not None and call.is_head:
            self._done = True  # and never kept: the parser waits for a body
        elif not ending and status not in _EMPTY:
            self._until_close = True

    def on_message_complete(self) -> None:
        if self._status and self._parser is not None:
            self._done = True
            self._keep = self._parser.should_keep_alive()

    def _bound(self, data: bytes) -> None:
        """A head, or what comes between two pieces of a body and after the last: the parser keeps
        it until it ends."""
        self._framing += len(data)
        if self._framing > self._home.head_limit:
            what = "framing" if self._status else "a head"
            raise _Bad(f"{what} of more than {self._home.head_limit} bytes")

    # -- the end ----------------------------------------------------------------------------

    def _finish(self, call: Call) -> None:
        """Free the link first: the sink may have its next call at hand."""
        self.call = None
        sink = call.over()
        keep = self._keep and not self.transport.is_closing()
        if keep:
            self._reset()
            self._served = True
            if call.is_paused:
                self.transport.resume_reading()
            self._moved = self._home.loop.time()
            self._home.release(self)
        else:
            self.transport.close()
        try:
            sink.end()
        except Exception:
            log.exception("the reader of an answer failed at its end")

    def _fail(self, fault: Fault, detail: str) -> None:
        call, self.call = self.call, None
        self.transport.abort()
        if call is not None:
            answered = self._heard or self._answered
            call.fail(fault, detail, answered=answered, reused=self._served)


def _why(error: Exception) -> str:
    """Not where it was caught: a name for an error there would be a circle, frame and error, that
    holds the whole call until it is collected."""
    cause = error.__context__
    return str(cause if isinstance(cause, _Bad) else error)
