"""A client of the proxy that reads HTTP byte by byte, and judges every answer it gets.

It asks one question at a time on a kept connection, may leave at any moment, and never waits
longer than its deadline. None of it is made with fleet's own HTTP code.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.proxy_answers import Ask, Dialect, Form, Made
from tests.chaos.proxy_upstream import Cut, reset

DEADLINE_S = 15.0
_HEADER = re.compile(rb"\r\n([^:\r\n]+): ?([^\r\n]*)")
# What clients of no known name are kept waiting with.
_FILLERS = (b'event: ping\ndata: {"type":"ping"}\n\n', b": keepalive\n\n")
_USAGE = b'"choices":[],"usage"'


class Kind(StrEnum):
    """What became of a request."""

    COMPLETE = "complete"  # and right
    ERROR = "error"  # with a status that says so
    CUT = "cut"  # within the answer, and told so
    LEFT = "left"  # the client did
    DOWN = "down"  # no proxy, or it died before a byte of an answer
    HANG = "hang"  # not over when it should have been
    WRONG = "wrong"  # none of the above: what must never be


class Ending(StrEnum):
    """Of an answer, as HTTP tells it."""

    WHOLE = "whole"
    CUT = "cut"
    LEFT = "left"
    DOWN = "down"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Heard:
    ending: Ending
    status: int = 0
    kind: bytes = b""
    dedup: str = ""
    body: bytes = b""
    seconds: float = 0.0
    sent: bool = False  # all of the request


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: Kind
    why: str = ""
    made: Made | None = None


class Client:
    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._left = self._sent = False
        self._begin()

    def _begin(self) -> None:
        self._got = bytearray()
        self._status, self._kind, self._dedup = 0, b"", ""

    async def ask(
        self,
        ask: Ask,
        *,
        leave_after: float | None = None,
        leave_how: Cut = Cut.CLOSE,
        slow: float = 0.0,
    ) -> Heard:
        """`slow`: seconds between reads. A reset may take back what the proxy has not read yet,
        so who leaves by one before the first byte of an answer just closes."""
        self._begin()
        self._left = self._sent = False
        began, timer = time.monotonic(), None
        try:
            async with asyncio.timeout(DEADLINE_S):
                writer = await self._connect()
                writer.write(ask.request(self.token))
                await writer.drain()
                self._sent = True
                if leave_after is not None:
                    loop = asyncio.get_running_loop()
                    timer = loop.call_later(leave_after, self._leave_safely, leave_how)
                closes = await self._read(slow)
                ending = Ending.WHOLE
        except TimeoutError:
            ending, closes = Ending.LATE, True
        except (asyncio.IncompleteReadError, OSError):
            ending, closes = Ending.CUT if self._status else Ending.DOWN, True
        if timer is not None:
            timer.cancel()
        if self._left:
            ending = Ending.LEFT
        if closes or self._left:
            self.close()
        seconds, body = time.monotonic() - began, bytes(self._got)
        return Heard(ending, self._status, self._kind, self._dedup, body, seconds, self._sent)

    def leave(self, how: Cut = Cut.CLOSE) -> None:
        """Now, whatever is still to come."""
        if self._writer is not None and self._sent:
            self._left = True
            reset(self._writer, how)

    def _leave_safely(self, how: Cut) -> None:
        self.leave(how if self._status else Cut.CLOSE)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _connect(self) -> asyncio.StreamWriter:
        if self._writer is None:
            opened = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            self._reader, self._writer = opened
            self._writer.transport.set_write_buffer_limits(0)  # drained is sent
        return self._writer

    async def _read(self, slow: float) -> bool:
        """Whether the connection ends with this answer."""
        reader = self._reader
        assert reader is not None
        head = await reader.readuntil(b"\r\n\r\n")
        headers = {name.lower(): value for name, value in _HEADER.findall(head)}
        self._status, self._kind = int(head[9:12]), headers.get(b"content-type", b"")
        self._dedup = headers.get(b"x-fleet-dedup", b"").decode()
        if b"content-length" in headers:
            await self._take(int(headers[b"content-length"]))
        else:
            assert headers[b"transfer-encoding"] == b"chunked", head
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await self._take(size)
                await reader.readexactly(2)
                if slow:
                    await asyncio.sleep(slow)
            await reader.readexactly(2)
        return headers.get(b"connection") == b"close"

    async def _take(self, size: int) -> None:
        assert self._reader is not None
        try:
            self._got += await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            self._got += error.partial
            raise


# -- judging --------------------------------------------------------------------------------


def judge(ask: Ask, heard: Heard) -> Verdict:
    match heard.ending:
        case Ending.LATE:
            return Verdict(Kind.HANG, f"status {heard.status}, {len(heard.body)} bytes")
        case Ending.DOWN:
            return Verdict(Kind.DOWN)
    if not heard.status:
        return Verdict(Kind.LEFT)
    made = Made.found_in(ask.dialect, heard.body)
    if made is not None and made.number != ask.number:
        return Verdict(Kind.WRONG, "an answer to another question", made)
    if heard.status != 200:
        return _refusal(heard, made)
    if heard.kind.startswith(b"text/event-stream"):
        return _stream(ask, heard, made)
    return _whole(heard, made)


def _refusal(heard: Heard, made: Made | None) -> Verdict:
    if heard.ending is not Ending.WHOLE:
        return Verdict(Kind.LEFT if heard.ending is Ending.LEFT else Kind.CUT)
    right = made is None or heard.body == made.refusal() or b"provider ended its" in heard.body
    if not right or b'"error"' not in heard.body:
        return Verdict(Kind.WRONG, f"{heard.status} {heard.body[:300]!r}", made)
    return Verdict(Kind.ERROR, str(heard.status), made)


def _whole(heard: Heard, made: Made | None) -> Verdict:
    if heard.ending is not Ending.WHOLE:
        right = not heard.body or (made is not None and made.whole().startswith(heard.body))
        kind = Kind.LEFT if heard.ending is Ending.LEFT else Kind.CUT
        return Verdict(kind if right else Kind.WRONG, "a part of no answer", made)
    if made is None or heard.body != made.whole():
        return Verdict(Kind.WRONG, f"no answer: {heard.body[:300]!r}", made)
    return Verdict(Kind.COMPLETE, made=made)


def _stream(ask: Ask, heard: Heard, made: Made | None) -> Verdict:
    body, told = _without_error(_without_fillers(heard.body))
    if made is None:
        right = not body and (told or heard.ending is not Ending.WHOLE)
    elif made.form is Form.WHOLE:
        right = (
            heard.ending is not Ending.WHOLE
            or (told and not body)  # it was kept waiting, for what is no answer
            or (made.is_unfolded(body) and _usage_as_asked(ask, body))
        )
    else:
        expected = b"".join(made.events(usage=ask.usage))
        is_all = heard.ending is Ending.WHOLE and not told
        right = body == expected if is_all else expected.startswith(body)
    if not right:
        return Verdict(Kind.WRONG, f"no answer to {ask}: …{heard.body[-700:]!r}", made)
    if heard.ending is Ending.LEFT:
        return Verdict(Kind.LEFT, made=made)
    is_cut = told or heard.ending is Ending.CUT
    return Verdict(Kind.CUT if is_cut else Kind.COMPLETE, made=made)


def _without_fillers(stream: bytes) -> bytes:
    """What stands after the events that kept a client waiting."""
    for filler in _FILLERS:
        while stream.startswith(filler):
            stream = stream[len(filler) :]
    return stream


def _usage_as_asked(ask: Ask, body: bytes) -> bool:
    return ask.dialect is not Dialect.CHAT or (_USAGE in body) == ask.usage


def _without_error(stream: bytes) -> tuple[bytes, bool]:
    """What stands before the event that says the answer broke off, and whether there is one."""
    at = stream.rfind(b"\n\n", 0, -2) + 2 if stream.endswith(b"\n\n") else len(stream)
    at = 0 if at == 1 else at
    return (stream[:at], True) if b'"error"' in stream[at:] else (stream, False)
