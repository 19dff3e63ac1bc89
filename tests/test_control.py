from __future__ import annotations

from pathlib import Path

import pytest

from fleet import control
from fleet.control import Stop
from fleet.core.event import Kind
from fleet.store import events
from fleet.store.controls import Controls
from fleet.store.database import Database
from tests.builders import a_database

SHUT = 1000.0


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return a_database(tmp_path)


def test_a_window_pauses_until_its_time_and_then_by_itself_no_more(db: Database) -> None:
    controls = Controls(db)
    control.pause_until(controls, SHUT, "its limit is used up", now=10.0)
    orders = control.read(controls)
    assert not orders.may_claim(999.9)
    assert orders.may_claim(SHUT)
    assert orders.waits(999.0) == "until 1970-01-01 00:16:40 UTC: its limit is used up"
    assert orders.waits(SHUT) == ""
    control.end_of_wait(controls, now=999.0)
    assert control.read(controls).until == SHUT
    control.end_of_wait(controls, now=SHUT)
    assert control.read(controls).until == 0.0
    paused, resumed = events.since(db, 0)
    assert (paused.kind, paused.reason) == (Kind.PAUSED, orders.waits(0.0))
    assert resumed.kind is Kind.RESUMED


def test_the_later_of_two_times_holds(db: Database) -> None:
    controls = Controls(db)
    control.pause_until(controls, SHUT, "one", now=1.0)
    control.pause_until(controls, 500.0, "two", now=2.0)
    assert control.read(controls).until == SHUT


def test_a_persons_pause_and_stop_outlive_it(db: Database) -> None:
    controls = Controls(db)
    control.pause(controls, "mine", now=1.0)
    control.pause_until(controls, SHUT, "its", now=2.0)
    control.end_of_wait(controls, now=SHUT)
    assert not control.read(controls).may_claim(SHUT + 1)
    assert control.resume(controls, now=SHUT + 2)
    assert control.read(controls).may_claim(SHUT + 3)
    control.pause_until(controls, SHUT, "its", now=2.0)
    control.stop(controls, Stop.DRAIN, now=3.0)
    control.end_of_wait(controls, now=SHUT)
    assert not control.read(controls).may_claim(SHUT + 1)


def test_a_person_may_end_it_early_and_a_new_run_does_not(db: Database) -> None:
    controls = Controls(db)
    control.pause_until(controls, 1e10, "its", now=2.0)
    control.begin(controls, agents=4)
    assert not control.read(controls).may_claim(3.0)
    assert control.resume(controls, now=1e9)
    assert control.read(controls).may_claim(1e9)
