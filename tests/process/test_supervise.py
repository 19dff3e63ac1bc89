from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fleet.core.errors import StorageError
from fleet.process.identity import start_time
from fleet.process.supervise import End, Ended, supervise
from fleet.process.transcript import read
from fleet.process.tree import ATTEMPT_MARK, marked

ROOT = Path(__file__).parents[2]
HOSTILE = Path(__file__).with_name("hostile.py")
ALL = ("plain", "own_session", "daemon", "deaf", "respawner", "pair", "headless", "potato")
Run = Callable[..., Ended]


def never() -> str | None:
    return None


def alive(token: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if token.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.fixture
def token() -> Iterator[str]:
    name = uuid.uuid4().hex
    yield name
    for _ in range(20):
        for pid in alive(name):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`supervise` with the arguments most tests do not care about."""

    def begin(*argv: str, **options: Any) -> Ended:
        usual: dict[str, Any] = {
            "cwd": tmp_path,
            "env": dict(os.environ),
            "mark": f"test/{tmp_path.name}.{os.getpid()}",
            "transcript": tmp_path / "transcript.log",
            "wall_s": 20.0,
            "stall_s": None,
            "grace_s": 0.3,
            "should_stop": never,
        }
        return supervise(argv, **{**usual, **options})

    return begin


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


def test_the_program_gets_our_mark_and_only_the_environment_given(run: Run) -> None:
    env = {"PATH": os.environ["PATH"], "GIVEN": "yes", ATTEMPT_MARK: "an outer one"}
    ended = run("sh", "-c", f"echo $GIVEN ${ATTEMPT_MARK} ${{HOME-none}}", env=env, mark="a/t.1")
    assert ended.last_line == "yes a/t.1 none"


def test_a_long_prompt_reaches_a_program_that_talks_meanwhile(run: Run) -> None:
    prompt = os.urandom(500_000).hex().encode()
    ended = run("cat", stdin=prompt)
    assert (ended.code, ended.output_bytes) == (0, len(prompt))


def test_a_prompt_nobody_reads_blocks_nothing(run: Run) -> None:
    ended = run("sh", "-c", "sleep 0.2; echo done", stdin=b"x" * 1_000_000)
    assert (ended.code, ended.last_line) == (0, "done")
    ended = run("sh", "-c", "exec 0<&-; sleep 0.2; echo closed", stdin=b"x" * 1_000_000)
    assert (ended.code, ended.last_line) == (0, "closed")


def test_without_a_prompt_standard_input_is_at_its_end(run: Run) -> None:
    assert run("sh", "-c", "cat; echo end").last_line == "end"


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


def test_no_hostile_tree_survives_a_stop(run: Run, token: str, tmp_path: Path) -> None:
    ended = run(*hostile(token, "stay", *ALL), should_stop=after(0.7), mark=token)
    assert ended.end is End.STOPPED
    assert ended.killed >= 5
    assert alive(token) == []
    assert marked(ATTEMPT_MARK, token) == []


def test_no_hostile_tree_survives_a_normal_exit(run: Run, token: str) -> None:
    began = time.monotonic()
    ended = run(*hostile(token, "then", *ALL), mark=token)
    assert (ended.end, ended.code, ended.last_line) == (End.EXITED, 0, "ready")
    assert ended.killed >= 7
    assert alive(token) == []
    assert time.monotonic() - began < 10.0  # they held the pipe, and were not waited for


def test_the_last_words_of_the_killed_are_kept(run: Run) -> None:
    writer = "(trap '' HUP; sleep 0.1; echo later) & echo first"
    ended = run("sh", "-c", writer)
    assert ended.last_line == "later"


@pytest.fixture
def apart(tmp_path: Path) -> Callable[..., Any]:
    """Run code with `go` (a short `supervise`) in a Python of its own; what it prints as JSON."""
    prelude = (
        "import json, os, subprocess, sys\n"
        "from pathlib import Path\n"
        "from fleet.process.supervise import supervise\n"
        "from fleet.process.tree import become_subreaper, descendants\n"
        "def go(argv, **more):\n"
        "    usual = dict(cwd=Path.cwd(), env=dict(os.environ), mark='t/%d' % os.getpid(),\n"
        "        transcript=Path('transcript.log'), wall_s=60.0, stall_s=None, grace_s=0.3,\n"
        "        should_stop=lambda: None)\n"
        "    return supervise(argv, **{**usual, **more})\n"
    )

    def begin(code: str, *arguments: str) -> Any:
        ended = subprocess.run(
            [sys.executable, "-c", prelude + code, *arguments],
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert ended.stderr == b""
        return json.loads(ended.stdout)

    return begin


def test_a_subreaper_also_ends_what_has_cleared_its_environment(
    apart: Callable[..., Any], token: str
) -> None:
    code = (
        "become_subreaper()\n"
        "mine = subprocess.Popen(['sleep', '60'])\n"
        "argv = [sys.executable, '-S', *sys.argv[1:]]\n"
        "ended = go(argv)\n"
        "left = descendants(os.getpid()) == [mine.pid]\n"
        "mine.kill()\n"
        "mine.wait()\n"
        "print(json.dumps({'killed': ended.killed, 'code': ended.code, 'only_mine': left}))\n"
    )
    said = apart(code, str(HOSTILE), token, "then", "cleared", "daemon", "potato")
    assert (said["code"], said["only_mine"]) == (0, True)
    assert said["killed"] >= 3
    assert alive(token) == []


def test_daemons_that_end_early_do_not_stay_as_zombies(apart: Callable[..., Any]) -> None:
    code = (
        "become_subreaper()\n"
        "def zombies():\n"
        "    stats = [p.read_text() for p in Path('/proc').glob('[0-9]*/stat')]\n"
        "    mine = [s.rsplit(')', 1)[1].split() for s in stats]\n"
        "    return sum(s[0] == 'Z' and s[1] == str(os.getpid()) for s in mine)\n"
        "seen = []\n"
        "go(['sh', '-c', 'for i in 1 2 3 4 5 6 7 8; do (setsid sh -c : &) ; done; sleep 1'],\n"
        "   should_stop=lambda: seen.append(zombies()))\n"
        "print(json.dumps(seen))\n"
    )
    seen = apart(code)
    assert len(seen) >= 2
    assert seen[-1] == 0


def test_a_flood_costs_neither_memory_nor_disk(apart: Callable[..., Any], tmp_path: Path) -> None:
    code = (
        "def peak():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(status.split('VmHWM:')[1].split()[0])\n"
        "go(['true'])\n"
        "before = peak()\n"
        "ended = go(['sh', '-c', 'yes | head -c 400000000'])\n"
        "print(json.dumps({'grown_kb': peak() - before, 'bytes': ended.output_bytes}))\n"
    )
    said = apart(code)
    assert said["bytes"] == 400_000_000
    assert said["grown_kb"] < 50_000
    assert (tmp_path / "transcript.log").stat().st_size < 9_000_000
    assert list(tmp_path.iterdir()) == [tmp_path / "transcript.log"]


def test_the_output_can_be_followed_while_it_runs(run: Run, tmp_path: Path) -> None:
    heard: list[bytes] = []
    on_disk: list[bytes] = []

    def listen(data: bytes) -> None:
        heard.append(data)
        on_disk.append(read(tmp_path / "transcript.log"))

    run("sh", "-c", "echo one; sleep 0.2; echo two", on_output=listen)
    assert heard == [b"one\n", b"two\n"]
    assert on_disk == [b"one\n", b"one\ntwo\n"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("in a callback")])
def test_an_exception_goes_on_only_when_the_tree_is_gone(
    run: Run, token: str, error: BaseException
) -> None:
    def fail() -> str | None:
        raise error

    with pytest.raises(type(error)):
        run(*hostile(token, "stay", "daemon", "deaf", "respawner"), should_stop=fail, mark=token)
    assert alive(token) == []


def test_a_disk_that_refuses_the_transcript_ends_the_tree_too(run: Run, token: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, limits[1]))
    try:
        with pytest.raises(StorageError, match="transcript"):
            run(*hostile(token, "stay", "daemon"), mark=token)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert alive(token) == []


def test_limits_apply_to_the_program(run: Run) -> None:
    ended = run("sh", "-c", "ulimit -n", rlimits={resource.RLIMIT_NOFILE: 77})
    assert ended.last_line == "77"


def test_the_last_line_is_fit_to_be_shown(run: Run) -> None:
    ended = run("printf", r"old\n10%%\r\033[31m20%%\033[0m done\a\r\n\n")
    assert ended.last_line == "20% done"


def test_no_descriptor_is_left_behind(run: Run) -> None:
    run("true", stdin=b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run("sh", "-c", "sleep 0.01 & echo hi", stdin=b"x" * 100_000)
    run("no-such-program-anywhere", stdin=b"x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_when_the_supervisor_is_killed_its_program_dies_with_it(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from fleet.process.supervise import supervise\n"
        "supervise(['sh', '-c', 'echo $$ > pid; exec sleep 60'], cwd=Path.cwd(),\n"
        "    env=dict(os.environ), mark='t/pdeath', transcript=Path('log'), wall_s=60.0,\n"
        "    stall_s=None, should_stop=lambda: None)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env) as supervisor:
        note = tmp_path / "pid"
        until = time.monotonic() + 10
        while not (note.exists() and note.read_text().endswith("\n")):
            assert time.monotonic() < until
            time.sleep(0.02)
        pid = int(note.read_text())
        pidfd = os.pidfd_open(pid)
        try:
            assert start_time(pid) is not None
            assert select.select([pidfd], [], [], 0.0)[0] == []
            supervisor.kill()
            assert select.select([pidfd], [], [], 5.0)[0] == [pidfd]
        finally:
            os.close(pidfd)
