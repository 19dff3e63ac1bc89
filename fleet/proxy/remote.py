"""A provider behind HTTP: its address, its path and its key around every call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fleet.proxy.headers import CREDENTIALS
from fleet.proxy.http.client import Client, Origin, Timeouts
from fleet.proxy.wire import Failure, Headers, Outgoing, Sending, Sink, Upstream


class Remote:
    """An `Upstream`. With a key of its own, a client's login never passes."""

    def __init__(
        self, client: Client, origin: Origin, base: str, key: Headers, timeouts: Timeouts
    ) -> None:
        self._client = client
        self._origin = origin
        self._base = base
        self._key = key
        self._timeouts = timeouts

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        headers = outgoing.headers
        if self._key:
            headers = (*(h for h in headers if h[0] not in CREDENTIALS), *self._key)
        return self._client.send(
            self._origin,
            outgoing.method,
            self._base + outgoing.target,
            headers,
            outgoing.body,
            sink,
            self._timeouts,
        )


class Slotted:
    """An `Upstream` that takes so many calls at a time; the others wait here, first come first.

    llama.cpp has a queue of its own, but what waits there cannot be taken back: so it never does.
    """

    def __init__(self, upstream: Upstream, slots: int) -> None:
        self._upstream = upstream
        self.slots = slots
        self._busy = 0
        self._line: deque[_Queued] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        queued = _Queued(outgoing, sink, self._free, self._line)
        if self._busy < self.slots:
            self._start(queued)
        else:
            self._line.append(queued)
        return queued

    def grow(self, slots: int) -> None:
        """The server has said how many it has."""
        self.slots = max(1, slots)
        self._fill()

    def _start(self, queued: _Queued) -> None:
        self._busy += 1
        queued.start(self._upstream)

    def _free(self) -> None:
        self._busy -= 1
        self._fill()

    def _fill(self) -> None:
        while self._line and self._busy < self.slots:
            self._start(self._line.popleft())


class _Queued:
    """A call in line, then on its way; passes everything on and gives its slot back once."""

    def __init__(
        self,
        outgoing: Outgoing,
        sink: Sink,
        free: Callable[[], None],
        line: deque[_Queued],
    ) -> None:
        self._outgoing = outgoing
        self._sink = sink
        self._free = free
        self._line = line
        self._sending: Sending | None = None
        self._holds = False
        self._over = False

    def start(self, upstream: Upstream) -> None:
        self._holds = True
        sending = upstream.send(self._outgoing, self)
        if not self._over:
            self._sending = sending

    def head(self, status: int, headers: Headers) -> None:
        self._sink.head(status, headers)

    def data(self, data: bytes) -> None:
        self._sink.data(data)

    def end(self) -> None:
        self._finish()
        self._sink.end()

    def failed(self, failure: Failure) -> None:
        self._finish()
        self._sink.failed(failure)

    def cancel(self) -> None:
        if self._over:
            return
        if self._sending is not None:
            self._sending.cancel()
        if not self._holds:
            self._line.remove(self)
        self._finish()

    def pause(self) -> None:
        if self._sending is not None:
            self._sending.pause()

    def resume(self) -> None:
        if self._sending is not None:
            self._sending.resume()

    def _finish(self) -> None:
        self._over, self._sending = True, None
        if self._holds:
            self._holds = False
            self._free()
