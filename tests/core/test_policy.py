from __future__ import annotations

import random

import pytest

from fleet.core.attempt import Outcome
from fleet.core.policy import (
    CONFLICTS_ALLOWED,
    Backoff,
    Candidate,
    Next,
    Record,
    after,
    delay,
    order,
)
from fleet.core.task import TaskState

BACKOFF = Backoff(first_s=2.0, cap_s=60.0)


def a_record(**fields: int) -> Record:
    return Record(
        **{
            "attempts": 1,
            "max_attempts": 3,
            "conflicts": 0,
            "unproven": 0,
            "unproven_allowed": 2,
            "deaths": 0,
            **fields,
        }
    )


def decide(outcome: Outcome, **fields: int) -> Next:
    return after(outcome, "why", a_record(**fields), BACKOFF, now=100.0, rng=random.Random(1))


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.TIMEOUT, Outcome.CRASHED])
def test_a_failed_attempt_is_tried_again_after_a_while(outcome: Outcome) -> None:
    step = decide(outcome)
    assert step.state is TaskState.PENDING
    assert 100.0 <= step.not_before <= 102.0
    assert step.counted


def test_the_last_attempt_fails_the_task() -> None:
    step = decide(Outcome.REJECTED, attempts=3)
    assert step.state is TaskState.FAILED
    assert step.reason == "why"


def test_a_conflict_gives_the_attempt_back_and_does_not_wait() -> None:
    step = decide(Outcome.CONFLICT, attempts=3, conflicts=CONFLICTS_ALLOWED)
    assert step.state is TaskState.PENDING
    assert not step.counted
    assert step.not_before == 100.0


def test_conflicts_end_a_task_at_last() -> None:
    assert decide(Outcome.CONFLICT, conflicts=CONFLICTS_ALLOWED + 1).state is TaskState.FAILED


def test_a_gate_that_cannot_run_does_not_burn_attempts_but_is_bounded() -> None:
    assert not decide(Outcome.UNPROVEN, attempts=3, unproven=2).counted
    assert decide(Outcome.UNPROVEN, unproven=3).state is TaskState.FAILED


def test_a_task_that_kills_its_workers_is_poisoned() -> None:
    assert decide(Outcome.ABANDONED, attempts=3, deaths=3).state is TaskState.POISONED


def test_one_death_among_other_failures_is_no_poison() -> None:
    assert decide(Outcome.ABANDONED, attempts=3, deaths=1).state is TaskState.FAILED


def test_a_cancelled_task_stays_cancelled() -> None:
    assert decide(Outcome.CANCELLED).state is TaskState.CANCELLED


def test_the_delay_grows_is_capped_and_jittered() -> None:
    rng = random.Random(3)
    late = [delay(20, BACKOFF, rng=rng) for _ in range(200)]
    assert max(late) <= 60.0
    assert max(late) - min(late) > 30.0
    assert max(delay(1, BACKOFF, rng=rng) for _ in range(200)) <= 2.0


def a_candidate(id_: str, *paths: str, state: TaskState = TaskState.PENDING) -> Candidate:
    return Candidate(id=id_, state=state, epoch=0, paths=paths)


def test_tasks_that_overlap_with_work_in_flight_go_last() -> None:
    candidates = [a_candidate("a", "src/x.py"), a_candidate("b", "docs"), a_candidate("c")]
    ids = [c.id for c in order(candidates, [("src",)])]
    assert ids == ["b", "c", "a"]


def test_a_task_whose_worker_died_does_not_clash_with_itself() -> None:
    held = a_candidate("a", "src", state=TaskState.RUNNING)
    assert [c.id for c in order([held, a_candidate("b")], [("src",)])] == ["a", "b"]
