"""Whose task may be claimed again: what the locks say, and neither pids, boots nor clocks."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.attempt import Outcome, Owner
from fleet.core.policy import Backoff, Candidate
from fleet.core.task import TaskState
from fleet.process.identity import boot_id, start_time
from fleet.process.tree import ATTEMPT_MARK, kill_tree
from fleet.store.claims import try_hold
from fleet.store.layout import Layout
from fleet.store.ledger import Ledger
from fleet.store.roster import Roster
from fleet.worker.claiming import Claimer
from tests.builders import NOW, RNG, a_database, a_task, an_owner


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(common_dir=tmp_path, top=tmp_path, cache=tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    db = a_database(layout.state)
    Roster(db).sync([a_task(max_attempts=9)], now=NOW)
    yield Ledger(db, Backoff(first_s=0.0, cap_s=0.0))
    db.close()


def a_claimer(layout: Layout, ledger: Ledger) -> Claimer:
    """As a worker cleans up, but there is no workspace to salvage."""

    def sweep(candidate: Candidate) -> None:
        kill_tree(mark=ATTEMPT_MARK, value=layout.mark(candidate.id, candidate.epoch))

    return Claimer(layout=layout, ledger=ledger, owner=an_owner("b"), clean_up=sweep, rng=RNG)


def held_by(ledger: Ledger, owner: Owner) -> None:
    found = ledger.claim(owner, lambda id_: id_, now=NOW)
    assert found is not None
    ledger.running(found[0], agent="x", base="b", now=NOW)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_pid_that_is_another_process_by_now_is_neither_taken_for_alive_nor_killed(
    layout: Layout, ledger: Ledger, stranger: subprocess.Popen[bytes]
) -> None:
    old = Owner(host="here", boot_id=boot_id(), pid=stranger.pid, started=1, worker="a")
    held_by(ledger, old)
    taken = a_claimer(layout, ledger).next()
    assert taken is not None
    assert taken.claim.epoch == 2
    assert stranger.poll() is None
    taken.lock.release()


def test_an_owner_that_lives_but_holds_no_lock_has_lost_its_task(
    layout: Layout, ledger: Ledger, stranger: subprocess.Popen[bytes]
) -> None:
    """A pid decides nothing, even the right one: it is the lock that proves life."""
    started = start_time(stranger.pid)
    assert started is not None
    held_by(
        ledger,
        Owner(host="here", boot_id=boot_id(), pid=stranger.pid, started=started, worker="a"),
    )
    taken = a_claimer(layout, ledger).next()
    assert taken is not None
    assert stranger.poll() is None
    taken.lock.release()


def test_after_a_reboot_everything_that_was_held_is_claimed_at_once(
    layout: Layout, ledger: Ledger
) -> None:
    """No lock outlives a boot, and nothing waits for a time to pass."""
    held_by(ledger, Owner(host="here", boot_id="before", pid=1, started=1, worker="a"))
    taken = a_claimer(layout, ledger).next()
    assert taken is not None
    assert (taken.claim.epoch, taken.claim.attempt) == (2, 2)
    taken.lock.release()


def test_nothing_is_taken_from_whoever_holds_the_lock_however_long_ago_it_claimed(
    layout: Layout, ledger: Ledger
) -> None:
    held_by(ledger, Owner(host="here", boot_id="before", pid=1, started=1, worker="a"))
    lock = try_hold(layout.claim_lock("one"))
    assert lock is not None
    with lock:
        claimer = a_claimer(layout, ledger)
        assert time.time() - NOW > 1e8  # claimed decades ago, by the clock
        assert claimer.next() is None
        assert ledger.stands("one", 1, {TaskState.RUNNING})
    assert claimer.next() is not None
    assert ledger.last_findings("one")[0] is not Outcome.MERGED
