"""A8: what is left behind, by whom, and what is only on its way out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.process.tree import ATTEMPT_MARK
from fleet.store import aside
from fleet.store.claims import try_hold
from fleet.wiring import Fleet
from fleet.worker.workspace import sweep
from tests.landing.conftest import Audited

DEAD = "4194304.1"  # no pid is that high


def a_workspace(fleet: Fleet) -> Path:
    return fleet.layout.workspace("two", 1)


def a_gate(fleet: Fleet) -> Path:
    return fleet.layout.workspaces / f"gate-{DEAD}-0badcafe"


def a_setup(fleet: Fleet) -> Path:
    return fleet.layout.workspaces / f"setup-{DEAD}-0badcafe"


def a_half_file(fleet: Fleet) -> Path:
    return fleet.layout.attempt("two", 1) / ".gate.json.0123abcd.tmp"


def a_half_state(fleet: Fleet) -> Path:
    return fleet.layout.state / ".proxy.json.0123abcd.tmp"


def a_lock_of_git(fleet: Fleet) -> Path:
    return fleet.hub.path / "packed-refs.lock"


LEFTOVERS = [
    a_workspace,
    a_gate,
    a_setup,
    a_half_file,
    a_half_state,
    a_lock_of_git,
]


def leave(path: Path) -> None:
    if path.suffix in (".tmp", ".lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    else:
        (path / "work").mkdir(parents=True)


@pytest.mark.parametrize("what", LEFTOVERS)
def test_what_is_left_behind_is_flagged(audited: Audited, what: Callable[[Fleet], Path]) -> None:
    fleet = audited.open()
    path = what(fleet)
    leave(path)
    found = audited.breaches()
    assert len(found) == 1
    assert found[0].startswith("A8: ")
    assert str(path) in found[0]
    fleet.close()


@pytest.mark.parametrize("what", [a_gate, a_setup, a_half_file, a_half_state])
def test_the_next_run_removes_it(audited: Audited, what: Callable[[Fleet], Path]) -> None:
    fleet = audited.open()
    path = what(fleet)
    leave(path)
    if path.is_dir():
        (path / "work").chmod(0o500)
    sweep(fleet)
    assert not path.exists()
    fleet.close()


def test_what_is_in_use_stays(audited: Audited) -> None:
    fleet = audited.open()
    used = aside.make(fleet.layout.workspaces, "gate")
    half = a_half_file(fleet)
    leave(half)
    lock = try_hold(fleet.layout.worker_lock("hand-1"))
    assert lock is not None
    with lock:
        sweep(fleet)
        assert used.is_dir()
        assert half.is_file()
        assert audited.breaches() == []
    fleet.close()


@contextmanager
def a_process(mark: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-Sc", "print('here', flush=True); input()"],
        env={ATTEMPT_MARK: mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_process_of_an_attempt_that_is_over_is_flagged(audited: Audited) -> None:
    fleet = audited.open()
    with a_process(fleet.layout.mark("two", 1)) as child:
        found = audited.breaches()
        assert found == [f"A8: process {child.pid} still carries the mark of two.1"]
    assert audited.breaches() == []
    fleet.close()


def test_processes_of_live_attempts_and_of_other_fleets_are_not(audited: Audited) -> None:
    fleet = audited.open()
    fleet.db.write("UPDATE tasks SET state = 'running' WHERE id = 'bad'")
    lock = try_hold(fleet.layout.coordinator_lock)
    assert lock is not None
    with lock, a_process(fleet.layout.mark("bad", 1)), a_process("0123456789ab/two.1"):
        assert audited.breaches() == []
        with a_process(fleet.layout.mark("lander", 77)):
            assert audited.broken() == {"A8"}  # no lander lives
    fleet.close()


def test_a_lock_that_is_held_while_nobody_works_is_flagged(audited: Audited) -> None:
    fleet = audited.open()
    lock = try_hold(fleet.layout.claim_lock("two"))
    assert lock is not None
    with lock:
        assert audited.broken() == {"A8"}
    fleet.close()


def test_a_workspace_that_an_open_task_goes_on_in_is_not_left_behind(audited: Audited) -> None:
    fleet = audited.open()
    leave(fleet.layout.workspace("bad", 1))
    fleet.db.write("UPDATE tasks SET state = 'parked' WHERE id = 'bad'")
    fleet.db.write("INSERT OR REPLACE INTO sessions VALUES('bad', 1, 'mini', 1, 'b', '')")
    assert audited.broken() == {"A4"}
    fleet.close()


def test_the_auditor_does_not_flag_itself(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = audited.open()
    monkeypatch.setitem(os.environ, ATTEMPT_MARK, fleet.layout.mark("two", 1))
    assert audited.breaches() == []
    fleet.close()
