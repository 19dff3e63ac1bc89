"""One client's view of a flight: a cursor and a rendering.

It writes what there is until its connection is full, and goes on when there is room; how slow it
is bothers nobody else. What a client asked for decides the rendering, not what the upstream sent:
a stream may be answered from one body and one body from a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fleet.core.caller import Caller
from fleet.proxy.wire import Headers, Reply

JSON = (b"content-type", b"application/json")
EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
DEDUP = b"x-fleet-dedup"
JOINED_BYTES = 256 << 10  # of a replay, in one write


class Outlet(Protocol):
    """The client's end: `http.server.Exchange`, or a test."""

    gone: bool
    writable: bool
    on_writable: Callable[[], None] | None

    def start(self, status: int, headers: Headers, length: int | None) -> None: ...
    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def reply(self, reply: Reply) -> None: ...
    def abort(self) -> None: ...


class Readers(Protocol):
    """Who has had an answer to its end."""

    def add(self, caller: str, /) -> None: ...


class Source(Protocol):
    """What a subscriber reads of its flight."""

    status: int
    headers: Headers
    log: list[bytes]
    hidden: set[int]
    released: int
    is_over: bool
    reply: Reply | None
    consumed: Readers

    @property
    def streams(self) -> bool: ...  # it is read event by event, or byte by byte
    @property
    def asked_stream(self) -> bool: ...  # of the upstream
    @property
    def readable(self) -> bool: ...  # not RAW
    @property
    def broken(self) -> Reply: ...
    def whole(self) -> bytes: ...
    def as_json(self) -> bytes | None: ...
    def as_events(self, *, usage: bool) -> tuple[bytes, ...] | None: ...
    def late(self) -> bytes: ...  # what went wrong, as an event
    def resume(self) -> None: ...


class Subscriber:
    __slots__ = (
        "bytes_out",
        "caller",
        "cursor",
        "dedup",
        "filled_at",
        "filler",
        "flight",
        "is_done",
        "is_kept",
        "on_done",
        "on_start",
        "outlet",
        "started",
        "status",
        "stream",
        "wants_usage",
    )

    def __init__(
        self,
        outlet: Outlet,
        caller: Caller,
        *,
        stream: bool,
        wants_usage: bool,
        dedup: bytes,
        filler: Callable[[], bytes] = bytes,
        on_start: Callable[[], None],
        on_done: Callable[[], None],
    ) -> None:
        self.outlet = outlet
        self.caller = caller
        self.stream = stream
        self.wants_usage = wants_usage
        self.dedup = dedup
        self.filler = filler  # an event that keeps this client waiting
        self.filled_at = 0.0
        self.is_kept = False  # waiting: it has had fillers and nothing else
        self.on_start = on_start
        self.on_done = on_done
        self.flight: Source | None = None
        self.cursor = 0
        self.started = False
        self.is_done = False
        self.status = 0
        self.bytes_out = 0

    def push(self) -> None:
        """Write what may be written now."""
        flight = self.flight
        if flight is None or self.is_done or self.outlet.gone:
            return
        if self.is_kept:
            self._late(flight)
        elif self.started or (flight.released and flight.streams and self._as_it_comes(flight)):
            self._advance(flight)
        elif flight.is_over:
            self._at_once(flight)

    @property
    def verbatim(self) -> bool:
        """It needs nothing that it has been given."""
        return self.flight is None or self._as_it_comes(self.flight)

    def _as_it_comes(self, flight: Source) -> bool:
        return self.stream or not flight.asked_stream or not flight.readable

    # -- a long wait ------------------------------------------------------------------------

    def keep(self, now: float) -> None:
        """It has waited long, and would leave: promise it a stream, and fill that."""
        if not self.stream or self.is_done or self.outlet.gone or self.cursor:
            return
        if not self.started:
            self.started = self.is_kept = True
            self.status = 200
            self.outlet.start(200, (*EVENTS, (DEDUP, self.dedup)), None)
            self.on_start()
        if self.is_kept and self.outlet.writable:
            self.filled_at = now
            self.outlet.write(self.filler())

    def _late(self, flight: Source) -> None:
        """The wait is over. What is no stream becomes one, and an error an event."""
        if flight.released and flight.streams and flight.readable and flight.status == 200:
            self.is_kept = False
            self.outlet.on_writable = self._go_on
            self._advance(flight)
        elif flight.is_over or (flight.released and not flight.readable):
            events = None
            if flight.reply is None and flight.status == 200 and flight.readable:
                events = flight.as_events(usage=self.wants_usage)
            said = flight.late() if events is None else b"".join(events)
            self.bytes_out += len(said)
            self.outlet.write(said)
            self.outlet.end()
            self._done(flight)

    # -- piece by piece ---------------------------------------------------------------------

    def _advance(self, flight: Source) -> None:
        outlet = self.outlet
        if not self.started:
            self.started, self.status = True, flight.status
            outlet.start(flight.status, (*flight.headers, (DEDUP, self.dedup)), None)
            outlet.on_writable = self._go_on
            self.on_start()
        log, end = flight.log, flight.released
        while self.cursor < end and outlet.writable and not outlet.gone:
            piece = self._next(flight, log, end)
            if piece:
                self.bytes_out += len(piece)
                outlet.write(piece)
        if flight.is_over and self.cursor >= len(log) and not outlet.gone:
            if flight.reply is not None and not flight.readable:
                outlet.abort()  # no other way to say that this is not all
            else:
                outlet.end()
            self._done(flight)

    def _next(self, flight: Source, log: list[bytes], end: int) -> bytes:
        at = self.cursor
        hidden = flight.hidden
        if end - at == 1 or (hidden and not self.wants_usage):
            self.cursor = at + 1
            return b"" if at in hidden and not self.wants_usage else log[at]
        size = 0
        while self.cursor < end and size < JOINED_BYTES:
            size += len(log[self.cursor])
            self.cursor += 1
        return b"".join(log[at : self.cursor])

    def _go_on(self) -> None:
        flight = self.flight
        self.push()
        if flight is not None:
            flight.resume()

    # -- in one piece -----------------------------------------------------------------------

    def _at_once(self, flight: Source) -> None:
        if flight.reply is not None:
            self._reply(flight, flight.reply)
        elif flight.streams and flight.readable:  # and not wanted as a stream
            self._rendered(flight, flight.as_json(), (JSON,))
        elif self.stream and not flight.asked_stream and flight.status == 200:
            events = flight.as_events(usage=self.wants_usage)
            self._rendered(flight, None if events is None else b"".join(events), EVENTS)
        else:
            self._reply(flight, Reply(flight.status, flight.headers, flight.whole()))

    def _rendered(self, flight: Source, body: bytes | None, kind: Headers) -> None:
        if body is None:
            self._reply(flight, flight.broken)
            return
        kept = tuple(pair for pair in flight.headers if pair[0] not in _OF_STREAMS)
        self._reply(flight, Reply(flight.status, (*kept, *kind), body))

    def _reply(self, flight: Source, reply: Reply) -> None:
        self.status = reply.status
        self.bytes_out += len(reply.body)
        self.outlet.reply(Reply(reply.status, (*reply.headers, (DEDUP, self.dedup)), reply.body))
        self._done(flight)

    def _done(self, flight: Source) -> None:
        self.is_done = True
        if flight.reply is None:
            flight.consumed.add(self.caller.key)
        self.on_done()


_OF_STREAMS = frozenset({b"content-type", b"cache-control", b"x-accel-buffering"})
