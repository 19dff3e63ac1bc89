"""One running agent or gate: its pipes, its transcript, how it ended, and its whole tree.

The program is started in a session of its own, dies with us (`PR_SET_PDEATHSIG`), and is not
reaped before its tree is gone: until then its pid, which names its group too, cannot become
somebody else's.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from fleet.process import cgroup
from fleet.process.bounds import Bounds, BoundsWatch
from fleet.process.identity import start_time
from fleet.process.inbox import Inbox
from fleet.process.kernel import await_exit, open_pidfd, tied_to_us
from fleet.process.transcript import Transcript, plain
from fleet.process.tree import ATTEMPT_MARK, bury_orphans, kill_tree

PIECE = 1 << 16  # the usual size of a pipe
LAST_LINE_CHARS = 300
LAST_LINE_BYTES = 4096  # of output kept in memory to find it in
FOR_THE_WRAPPED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
SIGNALLED = 128  # and the number of the signal, as shells say it
SHELLS_SIGNALS = range(SIGNALLED + 1, SIGNALLED + signal.NSIG)
DEATH_S = 5.0  # after SIGKILL; longer means the kernel is stuck on its disk

OnOutput = Callable[[bytes], None]


class Program:
    """Made by `start`; as a context it leaves nothing behind, whatever happens inside."""

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        *,
        mark: str,
        inbox: Inbox,
        log: Transcript,
        on_output: OnOutput | None,
        wrapped: bool = False,
    ) -> None:
        self.code: int | None = None
        self.signal: int | None = None
        self.exited = False
        self._popen = popen
        self._mark = mark
        self._inbox = inbox
        self._feeding = False  # stdin is waited for
        self._log = log
        self._on_output = on_output
        self._wrapped = wrapped
        self._last = b""
        self._killed: int | None = None
        self._started = start_time(popen.pid)
        self._pidfd = open_pidfd(popen.pid)
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        if self._popen.stdin is not None:
            os.set_blocking(self._popen.stdin.fileno(), False)
        assert self._popen.stdout is not None
        os.set_blocking(self._popen.stdout.fileno(), False)
        self._selector.register(self._popen.stdout, selectors.EVENT_READ, self._pump)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, self._note_exit)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.kill()
        finally:
            self._close()

    @property
    def output_bytes(self) -> int:
        return self._log.total

    @property
    def last_line(self) -> str:
        """The last thing it said, fit to be shown."""
        text = plain(self._last.decode("utf-8", "replace").replace("\r", "\n"))
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return lines[-1][:LAST_LINE_CHARS] if lines else ""

    def turn(self, timeout_s: float) -> bool:
        """Wait for something to happen and move what there is to move. Whether it spoke."""
        before = self._log.total
        self._look_into_inbox()
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            key.data()
        if self._pidfd is None:
            self._note_exit()
        return self._log.total > before

    def drain(self, timeout_s: float) -> None:
        """Read on until the pipe is closed by all who hold it, at most this long."""
        until = time.monotonic() + timeout_s
        assert self._popen.stdout is not None
        while not self._popen.stdout.closed and time.monotonic() < until:
            self.turn(until - time.monotonic())

    def await_exit(self, timeout_s: float) -> bool:
        """Go on moving its output until the program has exited. Whether it has."""
        until = time.monotonic() + timeout_s
        while not self.exited and time.monotonic() < until:
            self.turn(min(0.1, until - time.monotonic()))
        return self.exited

    def bury_orphans(self) -> None:
        """Daemons of it that have ended must not fill the process table as our zombies."""
        if self._started is not None:
            bury_orphans(root=self._popen.pid, orphans_since=self._started)

    def watch(self, bounds: Bounds) -> BoundsWatch:
        """Its own bounds, to be asked while it runs."""
        return BoundsWatch(bounds, root=self._popen.pid, entry=(ATTEMPT_MARK, self._mark))

    def signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def kill(self) -> int:
        """Kill the program, if it lives, and all it has started; how many had outlived it.

        Reads and writes nothing: this must work when the transcript's disk is full.
        """
        if self._killed is not None:
            return self._killed
        if not self.exited:
            self.signal_group(signal.SIGKILL)
        until = time.monotonic() + DEATH_S
        while not self.exited and time.monotonic() < until:
            await_exit(self._pidfd, until - time.monotonic())
            self._note_exit()
        self._killed = kill_tree(
            mark=ATTEMPT_MARK,
            value=self._mark,
            root=self._popen.pid,
            orphans_since=self._started,
        )
        return self._killed

    def _pump(self) -> None:
        assert self._popen.stdout is not None
        try:
            data = os.read(self._popen.stdout.fileno(), PIECE)
        except BlockingIOError:
            return
        if not data:
            self._hang_up(self._popen.stdout)
            return
        self._log.write(data)
        whole = len(data) >= LAST_LINE_BYTES
        self._last = (data if whole else self._last + data)[-LAST_LINE_BYTES:]
        if self._on_output is not None:
            self._on_output(data)

    def _look_into_inbox(self) -> None:
        """Wait for its stdin while there is something to write; close it when there never will."""
        stdin = self._popen.stdin
        if stdin is None or stdin.closed:
            return
        waits = bool(self._inbox.peek(1))
        if waits and not self._feeding:
            self._selector.register(stdin, selectors.EVENT_WRITE, self._feed)
        elif self._feeding and not waits:
            self._selector.unregister(stdin)
        self._feeding = waits
        if self._inbox.is_over:
            stdin.close()

    def _feed(self) -> None:
        assert self._popen.stdin is not None
        try:
            self._inbox.taken(os.write(self._popen.stdin.fileno(), self._inbox.peek(PIECE)))
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._inbox.refused()
        self._look_into_inbox()

    def _note_exit(self) -> None:
        """Learn how it ended without reaping it."""
        if self.exited:
            return
        try:
            ended = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # SIGCHLD was ignored when we were started: nobody knows
            self.exited = True
            return
        if ended is None:
            return
        self.exited = True
        if ended.si_code == os.CLD_EXITED:
            if self._wrapped and ended.si_status in SHELLS_SIGNALS:
                self.signal = ended.si_status - SIGNALLED
            else:
                self.code = ended.si_status
        else:
            self.signal = ended.si_status
        if self._pidfd is not None:
            self._selector.unregister(self._pidfd)  # it would wake every later turn

    def _hang_up(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        pipe.close()

    def _close(self) -> None:
        self._selector.close()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(0 if self.exited else DEATH_S)


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    mark: str,
    inbox: Inbox,
    log: Transcript,
    on_output: OnOutput | None,
    rlimits: Mapping[int, int],
    wrapped: bool = False,
) -> Program:
    """Start it. OSError, ValueError or SubprocessError when that cannot be done.

    `wrapped`: what is started stays around the program proper, which is the one that signals are
    for, and tells of a signal that ended it as 128 and its number.
    """
    if not argv:
        raise ValueError("there is nothing to run")
    group = cgroup.make(mark)
    try:
        popen = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**env, ATTEMPT_MARK: mark},
            stdin=subprocess.PIPE if inbox.is_wanted else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            preexec_fn=tied_to_us(  # noqa: PLW1509 - we have one thread: see there
                rlimits,
                ignored=FOR_THE_WRAPPED if wrapped else (),
                first=partial(cgroup.enter, group) if group is not None else None,
            ),
        )
    except BaseException:
        cgroup.end_marked(mark)
        raise
    try:
        return Program(popen, mark=mark, inbox=inbox, log=log, on_output=on_output, wrapped=wrapped)
    except BaseException:
        with popen:
            popen.kill()
        raise
