"""One request on a server connection, and its answer: given once, whole or piece by piece.

After its end, or once the client has gone, nothing said here has an effect.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable

from fleet.proxy.http.answers import CLOSE, render
from fleet.proxy.wire import Headers, Reply, Request

log = logging.getLogger(__name__)

_WAITING, _CHUNKED, _COUNTED, _UNTIL_CLOSE, _MUTE, _OVER = range(6)
_COPIED = 16 << 10  # up to here one write of a copy is cheaper than several
_RESET = struct.pack("ii", 1, 0)  # linger for no time: a close is a reset
_BODYLESS = frozenset({204, 304})


class Exchange:
    __slots__ = (
        "_closes",
        "_is_old",
        "_left",
        "_mode",
        "_over",
        "_transport",
        "gone",
        "on_gone",
        "on_writable",
        "received",
        "request",
        "writable",
    )

    def __init__(
        self,
        request: Request,
        received: float,
        transport: asyncio.Transport,
        over: Callable[[bool], None],
        *,
        writable: bool,
        closes: bool,
        is_old: bool,
    ) -> None:
        self.request = request
        self.received = received  # loop time
        self.gone = False  # the client has
        self.writable = writable  # False: what is written now piles up
        self.on_gone: Callable[[], object] | None = None
        self.on_writable: Callable[[], None] | None = None
        self._transport = transport
        self._over = over
        self._closes = closes
        self._is_old = is_old
        self._mode = _WAITING
        self._left = 0

    @property
    def is_over(self) -> bool:
        return self._mode == _OVER

    # -- in one piece -----------------------------------------------------------------------

    def reply(self, reply: Reply) -> None:
        if self._mode != _WAITING:
            self.abort()  # a second answer within the first: only a cut is honest
            return
        status, body = reply.status, reply.body
        if status in _BODYLESS:
            framing, body = b"", b""
        else:
            framing = b"content-length: %d\r\n" % len(body)
        if self.request.method == "HEAD":
            body = b""
        head = render(status, reply.headers, framing + CLOSE if self._closes else framing)
        if len(body) <= _COPIED:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        self._finish(self._closes)

    # -- piece by piece ---------------------------------------------------------------------

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        """Without a length the body goes in chunks; to HTTP/1.0 it ends with the connection."""
        if self._mode != _WAITING:
            self.abort()
            return
        framing, mode = b"", _MUTE
        if length is not None and status not in _BODYLESS:
            framing, mode = b"content-length: %d\r\n" % length, _COUNTED
            self._left = length
        elif status in _BODYLESS:
            pass
        elif self._is_old:
            self._closes, mode = True, _UNTIL_CLOSE
        else:
            framing, mode = b"transfer-encoding: chunked\r\n", _CHUNKED
        head = render(status, headers, framing + CLOSE if self._closes else framing)
        self._mode = _MUTE if self.request.method == "HEAD" else mode
        self._transport.write(head)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if self._mode == _CHUNKED:
            if len(data) <= _COPIED:
                self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                self._transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        elif self._mode == _UNTIL_CLOSE:
            self._transport.write(data)
        elif self._mode == _COUNTED:
            self._left -= len(data)
            if self._left < 0:
                log.error("an answer is longer than it was said to be")
                self.abort()
            else:
                self._transport.write(data)
        elif self._mode == _WAITING:
            raise RuntimeError("write before start")

    def end(self) -> None:
        mode = self._mode
        if mode == _OVER:
            return
        if mode == _WAITING or (mode == _COUNTED and self._left):
            log.error("an answer ended before it was whole")
            self.abort()
            return
        if mode == _CHUNKED:
            self._transport.write(b"0\r\n\r\n")
        self._finish(self._closes)

    def abort(self) -> None:
        """Close without a proper end, so that the client sees a cut."""
        if self._mode == _OVER:
            return
        if self._mode == _UNTIL_CLOSE:  # an orderly close would look like the end
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        self._finish(closes=True)

    # -- for the connection -----------------------------------------------------------------

    def lost(self) -> None:
        """The client has gone."""
        if self._mode == _OVER:
            return
        self._mode = _OVER
        self.gone = True
        self._call(self.on_gone)

    def closing(self) -> None:
        """The server is shutting down: if the head is still to come, it will say so."""
        self._closes = True

    def may_write(self, writable: bool) -> None:
        self.writable = writable
        if writable:
            self._call(self.on_writable)

    def _call(self, callback: Callable[[], object] | None) -> None:
        if callback is not None:
            try:
                callback()
            except Exception:
                log.exception("a callback of an exchange failed")
                self.abort()

    def _finish(self, closes: bool) -> None:
        self._mode = _OVER
        self.on_gone = self.on_writable = None  # which lead back here: no work for the collector
        self._over(closes)
