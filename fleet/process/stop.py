"""Being asked to stop, in a plain synchronous process: first drain, then kill, then leave.

The third signal ends the process on the spot; that is safe, since everything we do may be cut
off at any instant. Code that never waits long on anything else than `wait` (or a selector with a
time-out) needs nothing more. Not for a process with an event loop, which wants the wake-up
descriptor for itself. To be used from the main thread only.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from fleet.process.kernel import pause

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DRAIN, KILL, LEAVE = 1, 2, 3
INTERRUPTED = 130


class StopFlag:
    """How urgently we have been asked to stop. Counts signals while it is entered."""

    def __init__(self) -> None:
        self._level = 0
        self._told = 0  # the level `wait` last returned with
        self._before: dict[signal.Signals, Any] = {}
        self._wake_before = -1
        self._read_end = self._write_end = -1

    @property
    def draining(self) -> bool:
        return self._level >= DRAIN

    @property
    def killing(self) -> bool:
        return self._level >= KILL

    def notify(self, level: int) -> None:
        """Ask to stop from code, as a signal would: 1 to drain, 2 to kill. Never takes back."""
        self._level = max(self._level, min(level, KILL))
        if self._write_end >= 0:
            self._wake()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, but not through a signal. Whether one has come since the last `wait`.

        So a loop that drains can still pace itself with it: it returns at once only for news.
        """
        asleep = self._level == self._told
        if self._read_end < 0:
            pause(timeout_s if asleep else 0.0)  # not entered: no signal is ours
        else:
            # The C-level handler writes to this pipe, so that a signal which comes between the
            # line above and the sleep is not slept through.
            select.select([self._read_end], [], [], max(0.0, timeout_s) if asleep else 0.0)
            self._empty_pipe()
        news = self._level != self._told
        self._told = self._level
        return news

    def __enter__(self) -> Self:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in SIGNALS:
            # Under nohup SIGHUP is ignored, and must stay so.
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        self._before.clear()
        signal.set_wakeup_fd(self._wake_before)
        os.close(self._read_end)
        os.close(self._write_end)
        self._read_end = self._write_end = -1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._level += 1
        if self._level >= LEAVE:
            os._exit(INTERRUPTED)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it is awake already
            os.write(self._write_end, b"\0")

    def _empty_pipe(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._read_end, 512):
                pass
