from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.process import tree
from fleet.process.identity import start_time
from fleet.process.table import Process
from fleet.process.tree import ATTEMPT_MARK, become_subreaper, descendants, kill_tree, marked

HOSTILE = Path(__file__).with_name("hostile.py")
ALWAYS_FOUND = ("plain", "own_session", "daemon", "deaf", "respawner", "pair", "headless")
Start = Callable[..., "subprocess.Popen[bytes]"]
Alive = Callable[[str], list[int]]


@pytest.fixture
def start(token: str) -> Iterator[Start]:
    """Start hostile.py in a session of its own, and wait until everything it starts runs."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, mark: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-S", str(HOSTILE), token, *arguments],
            env={**os.environ, ATTEMPT_MARK: mark},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        return child

    yield begin
    for child in started:
        child.kill()
        with child:
            pass


def test_every_hostile_tree_is_gone_after_the_sweep(start: Start, alive: Alive, token: str) -> None:
    child = start("stay", *ALWAYS_FOUND, mark="a/t.1")
    assert len(alive(token)) >= len(ALWAYS_FOUND)
    killed = kill_tree(mark=ATTEMPT_MARK, value="a/t.1", root=child.pid)
    assert killed >= len(ALWAYS_FOUND)
    assert alive(token) == []


def test_a_tree_whose_root_has_exited_is_found_by_its_mark(
    start: Start, alive: Alive, token: str
) -> None:
    child = start("then", *ALWAYS_FOUND, mark="a/t.2")
    child.wait()
    assert alive(token) != []
    kill_tree(mark=ATTEMPT_MARK, value="a/t.2")
    assert alive(token) == []


def test_a_process_that_is_never_there_for_long_is_caught(start: Start) -> None:
    child = start("then", "potato", mark="a/t.3")
    child.wait()
    assert child.stdout is not None
    # Its standard output stays open as long as any of it lives.
    assert select.select([child.stdout], [], [], 0.1)[0] == []
    kill_tree(mark=ATTEMPT_MARK, value="a/t.3")
    assert select.select([child.stdout], [], [], 1.0)[0] == [child.stdout]


def test_the_mark_is_matched_whole(start: Start, alive: Alive, token: str) -> None:
    tenth = start("stay", mark="a/t.10")
    assert marked(ATTEMPT_MARK, "a/t.1") == []
    assert marked(ATTEMPT_MARK, "/t.10") == []
    assert marked("ATTEMPT", "a/t.10") == []
    assert marked(ATTEMPT_MARK, "a/t.10") == [tenth.pid]
    assert kill_tree(mark=ATTEMPT_MARK, value="a/t.1") == 0
    assert alive(token) == [tenth.pid]


def test_a_neighbour_without_the_mark_is_left_alone(start: Start, alive: Alive, token: str) -> None:
    neighbour = start("stay", "own_session", mark="b/t.1")
    before = alive(token)
    start("stay", "own_session", mark="a/t.1")
    assert kill_tree(mark=ATTEMPT_MARK, value="a/t.1") == 2
    assert sorted(alive(token)) == sorted(before)
    assert neighbour.poll() is None


def test_descendants_are_found_through_sessions(start: Start, alive: Alive, token: str) -> None:
    child = start("stay", "plain", "own_session", mark="a/t.1")
    assert sorted([child.pid, *descendants(child.pid)]) == sorted(alive(token))
    assert child.pid in descendants(os.getpid())


def test_the_root_is_its_starters_to_reap(start: Start) -> None:
    child = start("stay", "plain", mark="a/t.1")
    assert kill_tree(mark=ATTEMPT_MARK, value="a/t.1", root=child.pid) == 2
    assert child.wait(timeout=5) == -signal.SIGKILL


def test_an_unmarked_root_survives_what_is_below_it(start: Start, alive: Alive, token: str) -> None:
    child = start("stay", "plain", "own_session", mark="other")
    assert kill_tree(mark=ATTEMPT_MARK, value="none", root=child.pid) == 2
    assert alive(token) == [child.pid]


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen(["true"], env={**os.environ, ATTEMPT_MARK: "a/t.z"})
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert marked(ATTEMPT_MARK, "a/t.z") == []
    assert child.pid not in descendants(os.getpid())
    assert kill_tree(mark=ATTEMPT_MARK, value="a/t.z", root=child.pid) == 0
    assert child.wait() == 0


def test_the_caller_never_kills_itself(token: str) -> None:
    code = (
        "from fleet.process.tree import kill_tree, ATTEMPT_MARK, marked\n"
        "import os\n"
        "assert marked(ATTEMPT_MARK, 'a/t.self') == [os.getpid()]\n"
        "print(kill_tree(mark=ATTEMPT_MARK, value='a/t.self', root=os.getpid()))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, token],
        env={**os.environ, ATTEMPT_MARK: "a/t.self"},
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"0\n", b"")


def test_a_reused_pid_is_never_signalled(start: Start) -> None:
    child = start("stay", mark="a/t.1")
    started = start_time(child.pid)
    assert started is not None
    known = {"pid": child.pid, "parent": os.getpid(), "session": child.pid}
    earlier = Process(**known, started=started - 1, zombie=False, marked=True)
    assert not tree._send(earlier, signal.SIGKILL)
    assert child.poll() is None
    same = Process(**known, started=started, zombie=False, marked=True)
    assert tree._send(same, signal.SIGKILL)
    assert child.wait(timeout=5) == -signal.SIGKILL


def test_without_pidfds_the_sweep_still_works(
    start: Start, alive: Alive, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    child = start("stay", "daemon", "respawner", mark="a/t.1")
    assert kill_tree(mark=ATTEMPT_MARK, value="a/t.1", root=child.pid) >= 3
    assert alive(token) == []


def test_orphans_come_to_a_subreaper_and_are_swept_and_reaped(alive: Alive, token: str) -> None:
    code = f"""
import os, subprocess, sys
from fleet.process.identity import start_time
from fleet.process.tree import ATTEMPT_MARK, become_subreaper, descendants, kill_tree
assert become_subreaper()
mine = subprocess.Popen(["sleep", "60"])  # in our session: not an orphan
child = subprocess.Popen(
    [sys.executable, "-S", {str(HOSTILE)!r}, {token!r}, "then", "cleared"],
    start_new_session=True, stdout=subprocess.DEVNULL,
)
since = start_time(child.pid)
child.wait()
print(len(descendants(os.getpid())), kill_tree(mark=ATTEMPT_MARK, value="none"))
print(kill_tree(mark=ATTEMPT_MARK, value="none", orphans_since=since), mine.poll())
print(descendants(os.getpid()) == [mine.pid])
mine.kill()
mine.wait()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("all reaped")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert ended.stderr == b""
    assert ended.stdout.decode().splitlines() == ["2 0", "1 None", "True", "all reaped"]
    assert alive(token) == []


def test_becoming_a_subreaper_says_whether_it_worked() -> None:
    code = "from fleet.process.tree import become_subreaper; print(become_subreaper())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert said.strip() == (b"True" if sys.platform == "linux" else b"False")
    assert callable(become_subreaper)
