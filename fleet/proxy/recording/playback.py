"""An answer that was made before it is asked for, told to a sink at its own times.

Everything comes from the loop's callbacks, never from within `send`. What is due at once comes in
one go, unless the sink asks for a pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fleet.proxy.wire import Failure, Headers, Sink


@dataclass(frozen=True, slots=True)
class Head:
    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Step:
    after_s: float  # since the step before
    part: Head | bytes | Failure | None  # None: the answer is whole


class Playback:
    """A `Sending`. May be cancelled or paused before it has anything to play."""

    __slots__ = ("_at", "_cancelled", "_loop", "_paused", "_running", "_sink", "_steps", "_timer")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._steps: Sequence[Step] = ()
        self._at = 0
        self._timer: asyncio.Handle | None = None
        self._paused = self._running = self._cancelled = False

    def play(self, steps: Sequence[Step]) -> None:
        if self._cancelled or not steps:
            return
        self._steps = steps
        self._timer = self._loop.call_later(steps[0].after_s, self._run)

    def cancel(self) -> None:
        self._cancelled = True
        self._steps = ()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._timer is None and not self._running:
            self._timer = self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._timer, self._running = None, True
        try:
            while self._at < len(self._steps) and not self._paused:
                part = self._steps[self._at].part
                self._at += 1
                self._tell(part)
                if self._at < len(self._steps) and self._steps[self._at].after_s > 0:
                    self._timer = self._loop.call_later(self._steps[self._at].after_s, self._run)
                    return
        finally:
            self._running = False

    def _tell(self, part: Head | bytes | Failure | None) -> None:
        if isinstance(part, bytes):
            self._sink.data(part)
        elif isinstance(part, Head):
            self._sink.head(part.status, part.headers)
        elif part is None:
            self._sink.end()
        else:
            self._sink.failed(part)
