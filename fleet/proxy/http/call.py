"""One call on its way, as its caller holds it."""

from __future__ import annotations

import logging
from typing import Protocol

from fleet.proxy.http.limits import Timeouts
from fleet.proxy.http.origin import Origin
from fleet.proxy.wire import Failure, Fault, Headers, Sink

log = logging.getLogger(__name__)

_OURS = frozenset(
    {
        b"host",
        b"content-length",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    }
)
_BODYLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class _Nobody:
    def head(self, status: int, headers: Headers) -> None: ...
    def data(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def failed(self, failure: Failure) -> None: ...


_NOBODY = _Nobody()


class Carrier(Protocol):
    """Where a call is: in line, or on a connection."""

    def drop(self, call: Call) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Call:
    """A `Sending`."""

    __slots__ = (
        "body",
        "carrier",
        "head",
        "is_head",
        "is_over",
        "is_paused",
        "sink",
        "started",
        "timeouts",
    )

    def __init__(
        self, head: bytes, body: bytes, sink: Sink, timeouts: Timeouts, started: float
    ) -> None:
        self.head = head
        self.body = body
        self.is_head = head.startswith(b"HEAD ")
        self.sink = sink
        self.timeouts = timeouts
        self.started = started
        self.carrier: Carrier | None = None
        self.is_over = False
        self.is_paused = False

    def cancel(self) -> None:
        carrier = self.carrier
        if not self.is_over:
            self.over()
            if carrier is not None:
                carrier.drop(self)

    def pause(self) -> None:
        if not self.is_paused and not self.is_over:
            self.is_paused = True
            if self.carrier is not None:
                self.carrier.pause()

    def resume(self) -> None:
        if self.is_paused and not self.is_over:
            self.is_paused = False
            if self.carrier is not None:
                self.carrier.resume()

    def over(self) -> Sink:
        """The sink, for its last word. Nothing leads back to it from here: no circle is left for
        the collector."""
        sink, self.sink = self.sink, _NOBODY
        self.is_over = True
        self.carrier = None
        return sink

    def fail(self, fault: Fault, detail: str, *, answered: bool, reused: bool) -> None:
        if self.is_over:
            return
        sink = self.over()
        try:
            sink.failed(Failure(fault, detail, answered, reused))
        except Exception:
            log.exception("the reader of an answer failed")


def render(origin: Origin, method: str, target: str, headers: Headers, size: int) -> bytes:
    """The head of a request; the framing is ours alone, and nothing for one hop goes further."""
    lines = [b"host: " + origin.authority]
    lines += [b": ".join(pair) for pair in headers if pair[0] not in _OURS]
    if size or method not in _BODYLESS:
        lines.append(b"content-length: %d" % size)
    text = b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (
        method.encode("ascii"),
        target.encode("ascii"),
        b"\r\n".join(lines),
    )
    ends = len(lines) + 2
    if text.count(b"\n") != ends or text.count(b"\r") != ends or " " in target:
        raise ValueError("a line end or a space where none may be in the head of a request")
    return text
