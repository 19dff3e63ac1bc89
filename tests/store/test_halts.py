"""Parked tasks, and what a proxy orders workers to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.attempt import Claim, Outcome
from fleet.core.event import Kind
from fleet.core.halt import Halt, HaltKind
from fleet.core.task import TaskState
from fleet.store import events, halts
from fleet.store.database import Database
from fleet.store.ledger import Ledger
from fleet.store.roster import Roster
from tests.builders import NOW, RNG, a_database, a_ledger, a_task, an_owner

UNTIL = NOW + 600.0


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = a_database(tmp_path)
    Roster(opened).sync([a_task()], now=NOW)
    yield opened
    opened.close()


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return a_ledger(db)


def claimed(ledger: Ledger, now: float = NOW) -> Claim | None:
    ledger.wake(now=now)
    found = ledger.claim(an_owner(), lambda _: True, now=now)
    return found[0] if found else None


def park(ledger: Ledger) -> Claim:
    claim = claimed(ledger)
    assert claim is not None
    step = ledger.ended(
        "one", claim.epoch, Outcome.PARKED, "its window", now=NOW, rng=RNG, until=UNTIL
    )
    assert step.state is TaskState.PARKED
    return claim


def test_a_parked_task_is_claimed_at_its_time_and_its_try_is_not_counted(
    db: Database, ledger: Ledger
) -> None:
    park(ledger)
    assert claimed(ledger, UNTIL - 0.1) is None
    again = claimed(ledger, UNTIL)
    assert again is not None
    assert (again.epoch, again.attempt) == (2, 1)
    kinds = [event.kind for event in events.since(db, 0)]
    assert kinds[-3:] == [Kind.PARKED, Kind.UNPARKED, Kind.CLAIMED]


def test_all_of_them_go_on_early_when_a_person_says_so(ledger: Ledger) -> None:
    park(ledger)
    assert ledger.wake(now=NOW, early=True) == 1
    assert ledger.wake(now=NOW, early=True) == 0
    assert claimed(ledger, NOW) is not None


def test_work_that_was_handed_in_before_needs_no_second_agent(ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert claim is not None
    ledger.running(claim, agent="echo", base="b", now=NOW)
    ledger.harvested(claim, head="abc", now=NOW)
    ledger.ended("one", 1, Outcome.PARKED, "why", now=NOW, rng=RNG, until=NOW)
    again = claimed(ledger)
    assert again is not None
    assert again.harvested == "abc"


def test_a_parked_task_can_be_cancelled_and_goes_with_its_file(
    db: Database, ledger: Ledger
) -> None:
    park(ledger)
    assert Roster(db).cancel("one", now=NOW) == ""
    assert ledger.wake(now=UNTIL) == 0
    Roster(db).retry("one", now=NOW)
    park(ledger)
    Roster(db).sync([], now=NOW)
    view = Roster(db).task("one")
    assert view is not None
    assert view.state is TaskState.CANCELLED


def test_an_overspent_task_has_failed_and_a_stuck_one_tries_again(ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert claim is not None
    step = ledger.ended("one", 1, Outcome.STUCK, "circles", now=NOW, rng=RNG)
    assert (step.state, step.counted) == (TaskState.PENDING, True)
    assert claimed(ledger, NOW + 1000) is not None
    step = ledger.ended("one", 2, Outcome.OVERSPENT, "spent", now=NOW, rng=RNG)
    assert (step.state, step.reason) == (TaskState.FAILED, "spent")


def test_the_first_order_to_an_attempt_stands_and_the_next_attempt_has_none(
    db: Database, ledger: Ledger
) -> None:
    claim = claimed(ledger)
    assert claim is not None
    assert halts.find(db, claim) is None
    first = Halt(kind=HaltKind.PARK, until=UNTIL, reason="first")
    halts.order(db, "one", 1, first)
    halts.order(db, "one", 1, Halt(kind=HaltKind.STUCK, reason="second"))
    assert halts.find(db, claim) == first
    assert first.outcome is Outcome.PARKED
    ledger.ended("one", 1, Outcome.PARKED, "first", now=NOW, rng=RNG, until=NOW)
    again = claimed(ledger)
    assert again is not None
    assert halts.find(db, again) is None


def test_turns_are_counted_by_attempt(db: Database, ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert claim is not None
    assert halts.turns(db, claim) == 0
    for turns in (5, 10):
        halts.count_turns(db, "one", 1, turns)
    assert halts.turns(db, claim) == 10
