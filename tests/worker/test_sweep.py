"""What is removed when a run begins, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.attempt import Claim, Outcome
from fleet.store import sessions
from fleet.store.claims import try_hold
from fleet.wiring import Fleet, open_fleet
from fleet.worker.workspace import sweep
from tests.builders import NOW, RNG, a_task, an_owner
from tests.e2e.conftest import new_repository


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = new_repository(tmp_path)
    opened = open_fleet(made.path, made.env)
    opened.roster.sync([a_task("a.b")], now=NOW)
    yield opened
    opened.close()


def claimed(fleet: Fleet) -> Claim:
    found = fleet.ledger.claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    fleet.layout.workspace("a.b", found[0].epoch).joinpath("work").mkdir(parents=True)
    return found[0]


def ended(fleet: Fleet, claim: Claim, outcome: Outcome) -> None:
    fleet.ledger.ended("a.b", claim.epoch, outcome, "so", now=NOW, rng=RNG, give_back=True)


def left(fleet: Fleet) -> list[str]:
    return sorted(folder.name for folder in fleet.layout.workspaces.iterdir())


def test_the_folder_of_an_attempt_that_ended_without_a_session_goes(fleet: Fleet) -> None:
    """Its worker was killed between the record of the end and the removal."""
    ended(fleet, claimed(fleet), Outcome.REJECTED)
    sweep(fleet)
    assert left(fleet) == []


def test_what_a_dead_worker_left_stays_until_it_has_been_salvaged(fleet: Fleet) -> None:
    claimed(fleet)
    sweep(fleet)
    assert left(fleet) == ["a.b.1"]


def test_where_the_next_attempt_may_go_on_nothing_is_removed(fleet: Fleet) -> None:
    claim = claimed(fleet)
    sessions.begin(fleet.db, claim, agent="x", rooms=1, base="b", id_="s")
    ended(fleet, claim, Outcome.ABANDONED)
    sweep(fleet)
    assert left(fleet) == ["a.b.1"]


def test_nothing_is_removed_of_a_task_whose_lock_is_held(fleet: Fleet) -> None:
    ended(fleet, claimed(fleet), Outcome.REJECTED)
    lock = try_hold(fleet.layout.claim_lock("a.b"))
    assert lock is not None
    with lock:
        sweep(fleet)
        assert left(fleet) == ["a.b.1"]


def test_folders_that_are_no_attempts_of_ours_stay(fleet: Fleet) -> None:
    for name in ("env-abc", "other.1", "a.b", "a.b.x"):
        (fleet.layout.workspaces / name).mkdir()
    sweep(fleet)
    assert left(fleet) == ["a.b", "a.b.x", "env-abc", "other.1"]
