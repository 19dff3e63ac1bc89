"""What an attempt that was cut short left, and who may go on there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.attempt import Claim, Outcome
from fleet.store import sessions
from fleet.store.database import Database
from fleet.store.roster import Roster
from tests.builders import NOW, RNG, a_database, a_ledger, a_task, an_owner


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = a_database(tmp_path)
    Roster(opened).sync([a_task(max_attempts=9)], now=NOW)
    yield opened
    opened.close()


def claimed(db: Database) -> Claim:
    found = a_ledger(db).claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    return found[0]


def died(db: Database, claim: Claim) -> None:
    a_ledger(db).ended("one", claim.epoch, Outcome.ABANDONED, "its worker died", now=NOW, rng=RNG)


def began(db: Database) -> Claim:
    claim = claimed(db)
    sessions.begin(db, claim, agent="a", rooms=claim.epoch, base="b", id_="s")
    return claim


def test_a_worker_that_dies_before_it_begins_does_not_come_between(db: Database) -> None:
    died(db, began(db))
    died(db, claimed(db))
    left = sessions.newest(db, "one", before=claimed(db).epoch)
    assert left is not None
    assert (left.epoch, left.rooms, left.id) == (1, 1, "s")
    assert sessions.may_go_on(db, "one", 1)


def test_nobody_goes_on_where_the_work_is_in_the_hub(db: Database) -> None:
    claim = began(db)
    a_ledger(db).running(claim, agent="a", base="b", now=NOW)
    a_ledger(db).harvested(claim, head="h", now=NOW)
    died(db, claim)
    assert sessions.newest(db, "one", before=2) is None
    assert not sessions.may_go_on(db, "one", 1)


def test_nothing_is_left_of_a_task_that_never_began(db: Database) -> None:
    assert sessions.newest(db, "one", before=claimed(db).epoch) is None
    assert not sessions.may_go_on(db, "one", 1)
