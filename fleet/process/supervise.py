"""Running one agent or gate program from its start to its end, and that of all it has started.

Promises: the program's output never costs more than a bounded transcript; it is stopped when it
is asked to, runs too long, makes no progress, or takes too much of the machine; and when
`supervise` returns or raises, nothing it started is left (in a subreaper; otherwise a daemon that
also cleared its environment may be).
Failures are values, a program that cannot even be started included.

One thread and one selector do it all. Must not be called while other threads run, see `program`.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from fleet.process.bounds import Bounds
from fleet.process.inbox import Inbox
from fleet.process.program import Program, start
from fleet.process.sandbox.bubblewrap import SAYS as BWRAP_SAYS
from fleet.process.sandbox.inside import FAILED, SAYS
from fleet.process.sandbox.view import Rung
from fleet.process.transcript import Transcript

TURN_S = 0.2  # between questions whether to stop
DRAIN_S = 0.5  # for what is still in the pipe after the program has exited
TERM_S = 2.0  # between SIGTERM and SIGKILL, after the profile's own signal and grace

ShouldStop = Callable[[], str | None]
Moved = Callable[[], bool]


class End(StrEnum):
    """Why a program is no longer running."""

    EXITED = "exited"
    SIGNALLED = "signalled"  # by somebody else
    TIMED_OUT = "timed out"
    STALLED = "stalled"  # no progress
    STOPPED = "stopped"  # we were asked to
    OVERGROWN = "overgrown"  # it took more of the machine than it may
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How it ended. `code` or `signal` is the program's own, also when we ended it."""

    end: End
    code: int | None
    signal: int | None
    reason: str
    seconds: float
    output_bytes: int
    killed: int  # processes that had outlived the program
    last_line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    wall_s: float
    stall_s: float | None
    stop_signal: signal.Signals
    grace_s: float
    should_stop: ShouldStop
    moved: Moved | None
    bounds: Bounds | None


def supervise(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    mark: str,
    stdin: bytes | Inbox = b"",
    transcript: Path,
    wall_s: float,
    stall_s: float | None,
    stop_signal: signal.Signals = signal.SIGTERM,
    grace_s: float = 10.0,
    should_stop: ShouldStop,
    moved: Moved | None = None,
    on_output: Callable[[bytes], None] | None = None,
    rlimits: Mapping[int, int] | None = None,
    rung: Rung = Rung.NONE,
    bounds: Bounds | None = None,
) -> Ended:
    """Run `argv` with `env` and the mark of its attempt, until it ends or must.

    `rung` says behind which walls `argv` puts its program (`fleet.process.sandbox`).
    Of an `Inbox` more may be put in from `should_stop` and `on_output`, which are called here.
    When `stall_s` have passed without output, `moved` is asked whether there was other progress.
    """
    rules = _Rules(
        wall_s=wall_s,
        stall_s=stall_s,
        stop_signal=stop_signal,
        grace_s=grace_s,
        should_stop=should_stop,
        moved=moved,
        bounds=bounds,
    )
    with Transcript(transcript) as log:
        try:
            program = start(
                argv,
                cwd=cwd,
                env=env,
                mark=mark,
                inbox=stdin if isinstance(stdin, Inbox) else Inbox(stdin),
                log=log,
                on_output=on_output,
                rlimits=rlimits or {},
                wrapped=rung is Rung.BUBBLEWRAP,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return _not_started(argv, error)
        with program:
            ended = _to_the_end(program, rules)
    return ended if rung is Rung.NONE else _or_not_started(ended)


def _to_the_end(program: Program, rules: _Rules) -> Ended:
    began = time.monotonic()
    forced = _watch(program, rules)
    if forced is None:
        program.drain(DRAIN_S)
    elif forced[0] is not End.OVERGROWN:  # that one gets no time to take even more
        _stop(program, rules)
    seconds = time.monotonic() - began
    killed = program.kill()
    program.drain(DRAIN_S)  # what the killed had written
    end, reason = forced or _own_end(program)
    return Ended(
        end=end,
        code=program.code,
        signal=program.signal,
        reason=reason,
        seconds=seconds,
        output_bytes=program.output_bytes,
        killed=killed,
        last_line=program.last_line,
    )


def _watch(program: Program, rules: _Rules) -> tuple[End, str] | None:
    """Until it exits (None), or must be ended, and why."""
    began = spoke = asked = time.monotonic()
    bounds = program.watch(rules.bounds) if rules.bounds else None
    while not program.exited:
        turned = program.turn(TURN_S)
        now = time.monotonic()
        if turned:
            spoke = now
        if now - asked >= TURN_S:
            asked = now
            program.bury_orphans()
            reason = rules.should_stop()
            if reason is not None:
                return End.STOPPED, reason
            excess = bounds.exceeded() if bounds else None
            if excess is not None:
                return End.OVERGROWN, f"it was ended: {excess}"
        if now - began >= rules.wall_s:
            return End.TIMED_OUT, f"ran longer than {rules.wall_s:g} s"
        if rules.stall_s is not None and now - spoke >= rules.stall_s:
            if rules.moved is None or not rules.moved():
                return End.STALLED, f"no progress for {rules.stall_s:g} s"
            spoke = now
    return None


def _stop(program: Program, rules: _Rules) -> None:
    """Its own signal, and time to finish; then SIGTERM. Whoever calls kills what is left."""
    patience = {rules.stop_signal: rules.grace_s}
    patience.setdefault(signal.SIGTERM, min(TERM_S, rules.grace_s))
    for number, wait_s in patience.items():
        program.signal_group(number)
        if program.await_exit(wait_s):
            return


def _own_end(program: Program) -> tuple[End, str]:
    if program.signal is None:
        return End.EXITED, f"exit code {program.code}"
    names = {known.value: known.name for known in signal.Signals}
    return End.SIGNALLED, f"killed by {names.get(program.signal, program.signal)}"


def _or_not_started(ended: Ended) -> Ended:
    """The walls could not be put up, or the program cannot be seen from inside: nothing ran."""
    said = ended.last_line
    alone = len(said.encode()) + 1 == ended.output_bytes
    ours = ended.code == FAILED and said.startswith(SAYS)
    if not alone or not (ours or said.startswith(BWRAP_SAYS)):
        return ended
    return replace(ended, end=End.NOT_STARTED, code=None, reason=said.removeprefix(SAYS))


def _not_started(argv: Sequence[str], error: Exception) -> Ended:
    what = argv[0] if argv else "an empty command"
    if isinstance(error, OSError):
        what = str(error.filename or what)
        reason = f"{what}: {error.strerror}"
    else:
        reason = f"{what}: {error}"
    return Ended(
        end=End.NOT_STARTED,
        code=None,
        signal=None,
        reason=reason,
        seconds=0.0,
        output_bytes=0,
        killed=0,
        last_line="",
    )
