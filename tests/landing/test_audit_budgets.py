"""A7: what the books say of budgets, and of themselves."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Protocol

import pytest

from fleet.core.event import Event, Kind
from fleet.core.traffic import NANO, Call, Ended, Reservation, Served
from fleet.store import events
from fleet.store.calls import CallsWriter
from fleet.store.database import Database
from tests.landing.conftest import Audited
from tests.traffic_rows import a_call, a_served

NOW = time.time()
LIMITS = "\n[budget]\nrun_usd = 3\nday_usd = 5\ntask_usd = 1\nagent_usd = 2.5\n"


class Write(Protocol):
    def __call__(self, *rows: Call | Served | Reservation) -> None: ...


@pytest.fixture
def books(audited: Audited) -> Write:
    """Limits that were set long ago, a run that began an hour ago, and what was called since."""
    toml = audited.repository.path / "fleet.toml"
    toml.write_text(toml.read_text() + LIMITS)
    os.utime(toml, (NOW - 90_000, NOW - 90_000))
    fleet = audited.open()
    fleet.controls.set("run-began", f"{NOW - 3600:.3f}")
    fleet.close()

    def write(*rows: Call | Served | Reservation) -> None:
        writer = CallsWriter(fleet.layout.calls_database)
        for row in rows:
            if isinstance(row, Reservation):
                writer.set_aside(row, lambda: None)
            else:
                writer.add(row)
        writer.close()
        assert not writer.fault

    return write


def call(number: int, usd: float, *, ago: float = 60.0, **fields: object) -> Call:
    at = NOW - ago if ago < NOW % 86_400 else NOW
    return a_call(number, **{"at": at, "cost": round(usd * NANO), "task": "two", **fields})


def aside(number: int, usd: float, task: str = "two") -> Reservation:
    return Reservation(
        number, NOW, task, 1, "mini", "anthropic", "m", "messages", round(usd * NANO)
    )


def test_books_within_their_budgets_are_clean(audited: Audited, books: Write) -> None:
    books(
        call(1, 1.0),
        a_served(call=1, task="two"),
        call(2, 1.5, task="one"),
        call(3, 2.9, ago=7200.0, agent="other", task="bad"),
        call(4, 0.0, ended=Ended.FAILED),
    )
    limited = audited.breaches(FLEET_BUDGET_DAY_USD="6", FLEET_BUDGET_TASK_USD="3")
    assert limited == []


@pytest.mark.parametrize(
    ("who", "rows"),
    [
        ("task two", [call(1, 0.6), call(2, 0.5)]),
        ("task two", [call(1, 0.6), aside(2, 0.5)]),
        ("task one", [call(1, 2.1, task="one")]),
        ("agent mini", [call(1, 0.9), call(2, 1.7, task="one")]),
        ("the run of", [call(n, 0.8, task=f"t{n}", agent=f"a{n}") for n in range(1, 5)]),
        ("all calls of", [call(n, 0.9, task=f"t{n}", agent=f"a{n}") for n in range(1, 7)]),
    ],
)
def test_a_budget_that_was_exceeded_is_flagged(
    audited: Audited, books: Write, who: str, rows: list[Call | Reservation]
) -> None:
    books(*rows)
    found = audited.breaches()
    assert found
    assert all(breach.startswith("A7: ") for breach in found)
    assert any(who in breach for breach in found), found


def test_a_limit_that_was_lowered_below_what_is_spent_is_no_breach(
    audited: Audited, books: Write
) -> None:
    books(call(1, 0.9))
    toml = audited.repository.path / "fleet.toml"
    toml.write_text(toml.read_text().replace("task_usd = 1", "task_usd = 0.1"))
    assert audited.breaches() == []


def test_an_earlier_run_had_its_own_budget(audited: Audited, books: Write) -> None:
    fleet = audited.open()
    for kind, at in ((Kind.RUN_STARTED, NOW - 9000), (Kind.RUN_ENDED, NOW - 8000)):
        events.emit(fleet.db, Event(kind=kind, at=at))
    fleet.close()
    rows = [call(n, 0.8, ago=0, task=f"t{n}", agent=f"a{n}") for n in range(1, 4)]
    books(*rows, call(4, 0.9, at=NOW - 8500, task="four"))
    found = audited.breaches(FLEET_BUDGET_DAY_USD="100")
    assert found == []
    books(call(5, 2.4, at=NOW - 8500, task="five", agent="a5"))
    found = audited.breaches(FLEET_BUDGET_DAY_USD="100", FLEET_BUDGET_TASK_USD="100")
    assert len(found) == 1
    assert "run of" in found[0]


def raw(audited: Audited, sql: str) -> None:
    fleet = audited.open()
    with contextlib.closing(Database(fleet.layout.calls_database)) as db:
        db.write(sql)
    fleet.close()


def settled_and_set_aside(audited: Audited, write: Write) -> None:
    write(call(1, 0.1))
    raw(audited, "INSERT INTO reservations VALUES(1, 1.0, 'two', 1, 'a', 'u', 'm', 'e', 5)")


def by_an_attempt_that_never_was(audited: Audited, write: Write) -> None:
    write(call(1, 0.1, epoch=99))


def answered_without_a_row(audited: Audited, write: Write) -> None:
    write(call(1, 0.1), a_served(call=2))


@pytest.mark.parametrize(
    "plant", [settled_and_set_aside, by_an_attempt_that_never_was, answered_without_a_row]
)
def test_books_that_contradict_themselves_are_flagged(
    audited: Audited, books: Write, plant: Callable[[Audited, Write], None]
) -> None:
    plant(audited, books)
    assert audited.broken() == {"A7"}


def test_what_a_killed_proxy_may_have_lost_is_no_breach(audited: Audited, books: Write) -> None:
    answered_without_a_row(audited, books)
    fleet = audited.open()
    events.emit(fleet.db, Event(kind=Kind.WORKER_EXITED, at=NOW, worker="proxy", number=-9.0))
    fleet.close()
    assert audited.breaches() == []
