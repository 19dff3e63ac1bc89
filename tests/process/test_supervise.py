from __future__ import annotations

import resource
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fleet.core.errors import StorageError
from fleet.process.supervise import End, Ended
from fleet.process.transcript import read
from fleet.process.tree import ATTEMPT_MARK, marked

HOSTILE = Path(__file__).with_name("hostile.py")
ALL = ("plain", "own_session", "daemon", "deaf", "respawner", "pair", "headless", "potato")
Run = Callable[..., Ended]
Alive = Callable[[str], list[int]]


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-E", "-c", code)


def after(seconds: float, reason: str = "asked") -> Callable[[], str | None]:
    until = time.monotonic() + seconds
    return lambda: reason if time.monotonic() >= until else None


def hostile(token: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-S", str(HOSTILE), token, *arguments)


def test_the_end_of_a_program_is_told(run: Run, tmp_path: Path) -> None:
    ended = run("sh", "-c", "echo one; echo two >&2; exit 3")
    assert (ended.end, ended.code, ended.signal) == (End.EXITED, 3, None)
    assert (ended.reason, ended.last_line, ended.killed) == ("exit code 3", "two", 0)
    assert read(tmp_path / "transcript.log") == b"one\ntwo\n"
    assert ended.output_bytes == 8


def test_an_exit_is_noticed_at_once(run: Run) -> None:
    began = time.monotonic()
    ended = run("true")
    assert ended.code == 0
    assert time.monotonic() - began < 1.5  # no drain, no turn to wait for


def test_a_program_killed_by_somebody_else_is_told_apart(run: Run) -> None:
    ended = run("sh", "-c", "kill -SEGV $$")
    assert (ended.end, ended.code, ended.signal) == (End.SIGNALLED, None, signal.SIGSEGV)
    assert ended.reason == "killed by SIGSEGV"


@pytest.mark.parametrize(
    ("argv", "options", "told"),
    [
        (("no-such-program-anywhere",), {}, "No such file"),
        (("/",), {}, "Permission denied"),
        (("true", "\0"), {}, "null"),
        (("true",), {"cwd": Path("/no/such/folder")}, "/no/such/folder"),
        ((), {}, "an empty command"),
    ],
)
def test_what_cannot_start_is_a_value(
    run: Run, argv: tuple[str, ...], options: dict[str, Any], told: str
) -> None:
    ended = run(*argv, **options)
    assert (ended.end, ended.code, ended.seconds) == (End.NOT_STARTED, None, 0.0)
    assert told in ended.reason


def test_the_wall_clock_ends_a_program_that_goes_on_talking(run: Run) -> None:
    ended = run("sh", "-c", "while :; do echo .; sleep 0.05; done", wall_s=0.5, stall_s=0.4)
    assert (ended.end, ended.reason) == (End.TIMED_OUT, "ran longer than 0.5 s")
    assert ended.signal == signal.SIGTERM
    assert 0.5 <= ended.seconds < 3.0


def test_silence_without_progress_ends_a_program(run: Run) -> None:
    ended = run("sleep", "30", stall_s=0.3)
    assert (ended.end, ended.reason) == (End.STALLED, "no progress for 0.3 s")


def test_silence_with_progress_elsewhere_restarts_the_clock(run: Run) -> None:
    asked: list[float] = []

    def moved() -> bool:
        asked.append(time.monotonic())
        return len(asked) < 3

    ended = run("sleep", "30", stall_s=0.3, moved=moved)
    assert ended.end is End.STALLED
    assert len(asked) == 3
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(asked))


def test_the_profiles_signal_comes_first_and_the_program_may_finish(run: Run) -> None:
    code = (
        "import signal, sys, time\n"
        "def bye(*_):\n    print('x' * 300000)\n    print('bye')\n    sys.exit(7)\n"
        "signal.signal(signal.SIGINT, bye)\n"
        "time.sleep(30)"
    )
    ended = run(
        *python(code), stop_signal=signal.SIGINT, grace_s=10.0, should_stop=after(0.5, "drained")
    )
    assert (ended.end, ended.reason, ended.code) == (End.STOPPED, "drained", 7)
    assert ended.last_line == "bye"  # what it says while it stops is heard


def test_who_ignores_the_first_signal_gets_sigterm_and_then_is_killed(run: Run) -> None:
    deaf = "trap 'echo int' INT; trap 'echo term' TERM; echo up; while :; do sleep 0.05; done"
    ended = run("sh", "-c", deaf, stop_signal=signal.SIGINT, should_stop=after(0.3))
    assert (ended.end, ended.signal) == (End.STOPPED, signal.SIGKILL)
    assert ended.last_line == "term"


def test_no_hostile_tree_survives_a_stop(
    run: Run, alive: Alive, token: str, tmp_path: Path
) -> None:
    ended = run(*hostile(token, "stay", *ALL), should_stop=after(0.7), mark=token)
    assert ended.end is End.STOPPED
    assert ended.killed >= 5
    assert alive(token) == []
    assert marked(ATTEMPT_MARK, token) == []


def test_no_hostile_tree_survives_a_normal_exit(run: Run, alive: Alive, token: str) -> None:
    began = time.monotonic()
    ended = run(*hostile(token, "then", *ALL), mark=token)
    assert (ended.end, ended.code, ended.last_line) == (End.EXITED, 0, "ready")
    assert ended.killed >= 7
    assert alive(token) == []
    assert time.monotonic() - began < 10.0  # they held the pipe, and were not waited for


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("in a callback")])
def test_an_exception_goes_on_only_when_the_tree_is_gone(
    run: Run, alive: Alive, token: str, error: BaseException
) -> None:
    def fail() -> str | None:
        raise error

    with pytest.raises(type(error)):
        run(*hostile(token, "stay", "daemon", "deaf", "respawner"), should_stop=fail, mark=token)
    assert alive(token) == []


def test_a_disk_that_refuses_the_transcript_ends_the_tree_too(
    run: Run, alive: Alive, token: str
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, limits[1]))
    try:
        with pytest.raises(StorageError, match="transcript"):
            run(*hostile(token, "stay", "daemon"), mark=token)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert alive(token) == []
