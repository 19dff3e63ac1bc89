from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.task import TaskState
from fleet.store.database import Database
from fleet.store.roster import GONE, Roster
from tests.builders import NOW, a_database, a_ledger, a_task, an_owner


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = a_database(tmp_path)
    yield opened
    opened.close()


def states(roster: Roster) -> dict[str, str]:
    return {view.task.id: view.state for view in roster.tasks()}


def test_syncing_twice_changes_nothing(db: Database) -> None:
    roster = Roster(db)
    tasks = [a_task("a", paths=("x",), labels=("l",)), a_task("b", depends_on=("a",))]
    assert roster.sync(tasks, now=NOW) == 2
    assert roster.sync(tasks, now=NOW) == 0


def test_a_task_read_back_is_the_task_that_was_written(db: Database) -> None:
    task = a_task(
        "a", title="T", priority=0, paths=("x",), timeout_s=60.0, gate=("make x",), max_attempts=5
    )
    roster = Roster(db)
    roster.sync([task], now=NOW)
    view = roster.task("a")
    assert view is not None
    assert view.task == task


def test_an_edited_prompt_is_taken_over_by_the_next_attempt_only(db: Database) -> None:
    roster, ledger = Roster(db), a_ledger(db)
    roster.sync([a_task("a", prompt="old")], now=NOW)
    found = ledger.claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    claim, _ = found
    roster.sync([a_task("a", prompt="new")], now=NOW)
    assert claim.task.prompt == "old"
    view = roster.task("a")
    assert view is not None
    assert (view.task.prompt, view.state) == ("new", TaskState.CLAIMED)


def test_a_task_removed_from_its_file_is_cancelled_and_comes_back_with_it(db: Database) -> None:
    roster = Roster(db)
    roster.sync([a_task("a"), a_task("b")], now=NOW)
    roster.sync([a_task("b")], now=NOW)
    view = roster.task("a")
    assert view is not None
    assert (view.state, view.reason) == (TaskState.CANCELLED, GONE)
    roster.sync([a_task("a"), a_task("b")], now=NOW)
    assert states(roster) == {"a": "pending", "b": "pending"}


def test_a_task_a_person_cancelled_does_not_come_back(db: Database) -> None:
    roster = Roster(db)
    roster.sync([a_task("a")], now=NOW)
    roster.cancel("a", now=NOW)
    roster.sync([a_task("a", title="edited")], now=NOW)
    assert states(roster) == {"a": "cancelled"}


def test_states_written_in_a_file_are_honoured_when_they_are_terminal(db: Database) -> None:
    roster = Roster(db)
    done = a_task("a", status=TaskState.MERGED)
    failed = a_task("b", status=TaskState.FAILED, failure_reason="because")
    roster.sync(
        [done, failed, a_task("c", depends_on=("a",)), a_task("d", depends_on=("b",))], now=NOW
    )
    assert states(roster) == {"a": "merged", "b": "failed", "c": "pending", "d": "blocked"}
    assert [c.id for c in a_ledger(db).ready(now=NOW)] == ["c"]


def test_ten_thousand_tasks_are_synced_and_listed(db: Database) -> None:
    roster = Roster(db)
    tasks = [a_task(f"t{n}") for n in range(10_000)]
    roster.sync(tasks, now=NOW)
    assert roster.counts().open == 10_000
    assert [c.id for c in a_ledger(db).ready(now=NOW)][:2] == ["t0", "t1"]
