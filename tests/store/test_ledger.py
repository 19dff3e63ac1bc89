from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.attempt import Claim, Outcome
from fleet.core.errors import StaleError
from fleet.core.event import Kind
from fleet.core.task import TaskState
from fleet.store import events
from fleet.store.database import Database
from fleet.store.ledger import Ledger
from fleet.store.queue import Queue
from fleet.store.roster import Roster
from tests.builders import NOW, RNG, a_database, a_ledger, a_task, an_owner


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = a_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return a_ledger(db)


def claimed(ledger: Ledger, id_: str = "one") -> Claim:
    found = ledger.claim(an_owner(), lambda task: task == id_ or None, now=NOW)
    assert found is not None
    return found[0]


def end(ledger: Ledger, claim: Claim, outcome: Outcome = Outcome.REJECTED) -> TaskState:
    return ledger.ended(claim.task.id, claim.epoch, outcome, "why", now=NOW, rng=RNG).state


def land(db: Database, ledger: Ledger, claim: Claim) -> None:
    ledger.running(claim, agent="echo", base="b", now=NOW)
    ledger.harvested(claim, head=f"head-{claim.key}", now=NOW)
    ledger.submitted(claim, base="b", merge=f"merge-{claim.key}", now=NOW)
    queue = Queue(db)
    plan = [(entry, entry.merge) for entry in queue.waiting()]
    queue.landing(plan, now=NOW)
    queue.landed(plan, now=NOW)


def test_a_claim_raises_the_epoch_and_counts_the_attempt(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task()], now=NOW)
    first = claimed(ledger)
    assert (first.epoch, first.attempt) == (1, 1)
    assert ledger.claim(an_owner(), lambda _: True, now=NOW) is None
    assert end(ledger, first) is TaskState.PENDING
    db.write("UPDATE tasks SET not_before = 0")
    second = claimed(ledger)
    assert (second.epoch, second.attempt) == (2, 2)


def test_a_stale_epoch_can_write_nothing(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task()], now=NOW)
    old = claimed(ledger)
    ledger.running(old, agent="echo", base="b", now=NOW)
    end(ledger, old, Outcome.ABANDONED)
    new = claimed(ledger)
    for write in (
        lambda: ledger.running(old, agent="echo", base="b", now=NOW),
        lambda: ledger.harvested(old, head="h", now=NOW),
        lambda: ledger.submitted(old, base="b", merge="m", now=NOW),
        lambda: end(ledger, old),
    ):
        with pytest.raises(StaleError):
            write()
    row = Roster(db).task("one")
    assert row is not None
    assert (row.state, row.epoch) == (TaskState.CLAIMED, new.epoch)


def test_a_refused_transition_leaves_no_event(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task()], now=NOW)
    claim = claimed(ledger)
    before = events.last_seq(db)
    with pytest.raises(StaleError):
        ledger.submitted(claim, base="b", merge="m", now=NOW)  # it is not running yet
    assert events.last_seq(db) == before


def test_the_next_attempt_takes_over_work_handed_in_by_a_dead_worker(
    db: Database, ledger: Ledger
) -> None:
    Roster(db).sync([a_task()], now=NOW)
    dead = claimed(ledger)
    ledger.running(dead, agent="echo", base="b", now=NOW)
    ledger.harvested(dead, head="abc", now=NOW)
    end(ledger, dead, Outcome.ABANDONED)
    assert claimed(ledger).harvested == "abc"


def test_work_the_gate_could_not_run_for_is_gated_once_more_without_the_agent(
    db: Database, ledger: Ledger
) -> None:
    Roster(db).sync([a_task()], now=NOW)
    for wanted in ("", "abc", ""):
        db.write("UPDATE tasks SET not_before = 0")
        claim = claimed(ledger)
        assert claim.harvested == wanted
        ledger.running(claim, agent="echo", base="b", now=NOW)
        ledger.harvested(claim, head="abc", now=NOW)
        end(ledger, claim, Outcome.UNPROVEN)


def test_rejected_work_is_not_taken_over(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task()], now=NOW)
    claim = claimed(ledger)
    ledger.running(claim, agent="echo", base="b", now=NOW)
    ledger.harvested(claim, head="abc", now=NOW)
    end(ledger, claim)
    db.write("UPDATE tasks SET not_before = 0")
    assert claimed(ledger).harvested == ""


def test_a_task_whose_lock_is_held_is_passed_over(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task("a"), a_task("b")], now=NOW)
    assert claimed(ledger, "b").task.id == "b"
    assert ledger.claim(an_owner(), lambda _: None, now=NOW) is None


def test_a_claim_that_fails_while_locking_leaves_nothing(db: Database, ledger: Ledger) -> None:
    def broken(_: str) -> None:
        raise OSError("no locks here")

    Roster(db).sync([a_task("a")], now=NOW)
    with pytest.raises(OSError, match="no locks"):
        ledger.claim(an_owner(), broken, now=NOW)
    assert [c.id for c in ledger.ready(now=NOW)] == ["a"]


def test_urgent_tasks_come_first_and_ties_keep_file_order(db: Database, ledger: Ledger) -> None:
    tasks = [a_task("b"), a_task("a"), a_task("low", priority=9), a_task("urgent", priority=0)]
    Roster(db).sync(tasks, now=NOW)
    assert [c.id for c in ledger.ready(now=NOW)] == ["urgent", "b", "a", "low"]


def test_a_dependent_is_ready_only_when_all_it_needs_has_landed(
    db: Database, ledger: Ledger
) -> None:
    Roster(db).sync([a_task("c", depends_on=("a", "b")), a_task("a"), a_task("b")], now=NOW)
    assert [c.id for c in ledger.ready(now=NOW)] == ["a", "b"]
    land(db, ledger, claimed(ledger, "a"))
    assert [c.id for c in ledger.ready(now=NOW)] == ["b"]
    land(db, ledger, claimed(ledger, "b"))
    assert [c.id for c in ledger.ready(now=NOW)] == ["c"]


def test_a_failed_dependency_blocks_everything_behind_it_and_retry_revives_it(
    db: Database, ledger: Ledger
) -> None:
    roster = Roster(db)
    tasks = [
        a_task("a", max_attempts=1),
        a_task("b", depends_on=("a",)),
        a_task("c", depends_on=("b",)),
    ]
    roster.sync(tasks, now=NOW)
    assert end(ledger, claimed(ledger, "a")) is TaskState.FAILED
    assert [view.state for view in roster.tasks()] == ["failed", "blocked", "blocked"]
    assert roster.retry("a", now=NOW) == ""
    assert [view.state for view in roster.tasks()] == ["pending"] * 3
    assert [c.id for c in ledger.ready(now=NOW)] == ["a"]


def test_retrying_a_blocked_task_whose_dependency_still_failed_blocks_it_again(
    db: Database, ledger: Ledger
) -> None:
    roster = Roster(db)
    roster.sync([a_task("a", max_attempts=1), a_task("b", depends_on=("a",))], now=NOW)
    end(ledger, claimed(ledger, "a"))
    roster.retry("b", now=NOW)
    view = roster.task("b")
    assert view is not None
    assert view.state is TaskState.BLOCKED


def test_a_task_that_has_landed_cannot_be_retried(db: Database, ledger: Ledger) -> None:
    roster = Roster(db)
    roster.sync([a_task()], now=NOW)
    land(db, ledger, claimed(ledger))
    assert "has landed" in roster.retry("one", now=NOW)


def test_cancelling_a_running_task_ends_it_when_its_attempt_ends(
    db: Database, ledger: Ledger
) -> None:
    roster = Roster(db)
    roster.sync([a_task()], now=NOW)
    claim = claimed(ledger)
    assert not ledger.cancel_asked(claim)
    roster.cancel("one", now=NOW)
    assert ledger.cancel_asked(claim)
    assert end(ledger, claim, Outcome.ABANDONED) is TaskState.CANCELLED


def test_a_drained_attempt_is_given_back(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task()], now=NOW)
    claim = claimed(ledger)
    ledger.ended("one", claim.epoch, Outcome.ABANDONED, "stopped", now=NOW, rng=RNG, give_back=True)
    assert claimed(ledger).attempt == 1


def test_a_task_is_accepted_only_once_even_by_the_database(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task()], now=NOW)
    land(db, ledger, claimed(ledger))
    with pytest.raises(Exception, match="UNIQUE"):
        db.write(
            "INSERT INTO attempts(task, epoch, worker, host, boot_id, pid, started, claimed_at, "
            "outcome) VALUES('one', 9, '', '', '', 0, 0, 0, 'merged')"
        )


def test_the_story_of_a_task_is_told_in_order(db: Database, ledger: Ledger) -> None:
    Roster(db).sync([a_task()], now=NOW)
    land(db, ledger, claimed(ledger))
    kinds = [event.kind for event in events.of_task(db, "one")]
    assert kinds == [
        Kind.TASK_ADDED,
        Kind.CLAIMED,
        Kind.RUNNING,
        Kind.HARVESTED,
        Kind.SUBMITTED,
        Kind.LANDING,
        Kind.LANDED,
    ]


def test_tasks_of_agents_that_cannot_work_now_are_passed_over(db: Database, ledger: Ledger) -> None:
    Roster(db).sync(
        [
            *(a_task(f"model-{number}", agent="mini", priority=0) for number in range(40)),
            *(a_task(f"usual-{number}", paths=("a/**",)) for number in range(40)),
            a_task("plain", agent="command", paths=("a/**",)),
        ],
        now=NOW,
    )
    assert ledger.agents_wanted() == {"mini", "command", ""}
    assert [c.id for c in ledger.ready(now=NOW, without={"mini", ""})] == ["plain"]
    assert ledger.ready(now=NOW, limit=1, without={"mini"})[0].id == "usual-0"
    assert (
        ledger.claim(an_owner(), lambda _: True, now=NOW, without={"mini", "", "command"}) is None
    )
    found = ledger.claim(an_owner(), lambda _: True, now=NOW, without={"mini", ""})
    assert found is not None
    assert found[0].task.id == "plain"
    end(ledger, found[0], Outcome.CANCELLED)
    assert ledger.agents_wanted() == {"mini", ""}
    assert claimed(ledger, "model-0").task.id == "model-0"


def test_a_clock_that_goes_back_makes_no_task_wait_longer_than_a_back_off(
    db: Database, ledger: Ledger
) -> None:
    Roster(db).sync([a_task()], now=NOW)
    assert end(ledger, claimed(ledger)) is TaskState.PENDING
    assert ledger.ready(now=NOW) == []  # its back-off
    year = 365 * 86400.0
    assert [candidate.id for candidate in ledger.ready(now=NOW - year)] == ["one"]
    assert [candidate.id for candidate in ledger.ready(now=NOW + year)] == ["one"]
