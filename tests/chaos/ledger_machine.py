"""Ledger, queue, roster and claims in any order, with faults, against `ledger_model`.

    python -m tests.chaos.ledger_machine [--runs 2000] [--steps 50]

Workers claim, go on, hand in, give up, die and slip from their locks; landers plan and land, also
by plans that are stale; people cancel, retry and edit files; the clock jumps; and the disk refuses
in the middle of any transaction. After each step the two must agree, and in the end every task
must be able to end.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fleet.core.attempt import Claim, Outcome
from fleet.core.errors import StaleError, StorageError
from fleet.core.policy import Backoff
from fleet.core.task import TERMINAL, Task, TaskState
from fleet.landing.audit import attempts
from fleet.store.database import MEMORY, Database, Value
from fleet.store.ledger import Ledger
from fleet.store.queue import Queue, Submission
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from tests.builders import an_owner
from tests.chaos.ledger_model import CAP_S, HELD, Entry, Model

NEEDS = {"a": (), "b": ("a",), "c": (), "d": ("b", "c"), "e": ("d",)}
TASKS = st.sampled_from(sorted(NEEDS))
ENDS = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.MERGED])
AFTER_SUBMISSION = (TaskState.SUBMITTED, TaskState.LANDING)


T = TypeVar("T")


class FailingDatabase(Database):
    """Refuses the nth write from now on, or else to commit."""

    fails_in = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            yield
            if self.fails_in:
                raise StorageError("the disk refuses")

    def write(self, sql: str, values: Sequence[Value] = ()) -> int:
        if self.fails_in:
            self.fails_in -= 1
            if not self.fails_in:
                self.fails_in = 1  # and whatever follows
                raise StorageError("the disk refuses")
        return super().write(sql, values)


@dataclass(slots=True)
class Worker:
    claim: Claim
    holds: bool = True  # its lock; who has lost it goes on, not knowing


class LedgerMachine(RuleBasedStateMachine):
    kind: type[Ledger] = Ledger

    def __init__(self) -> None:
        super().__init__()
        self.db = FailingDatabase(MEMORY)
        self.db.migrate(MIGRATIONS)
        backoff = Backoff(first_s=1.0, cap_s=CAP_S)
        self.ledger, self.queue, self.roster = (
            self.kind(self.db, backoff),
            Queue(self.db),
            Roster(self.db),
        )
        self.rng = random.Random(5)
        self.now = 1_000_000.0
        self.workers: list[Worker] = []
        self.plans: list[list[tuple[Submission, str]]] = []
        self.model = Model(())
        self.tasks: dict[str, Task] = {}

    def teardown(self) -> None:
        if self.tasks:
            self._let_all_end()
        self.db.close()

    @initialize(tries=st.integers(1, 3), urgent=TASKS)
    def begin(self, tries: int, urgent: str) -> None:
        for id_, needs in NEEDS.items():
            priority = 0 if id_ == urgent else 1
            self.tasks[id_] = Task(
                id=id_, prompt="p", depends_on=needs, max_attempts=tries, priority=priority
            )
        self.model = Model(
            Entry(id_, needs, tries, self.tasks[id_].priority) for id_, needs in NEEDS.items()
        )
        self.edit(sorted(NEEDS))

    # -- workers --------------------------------------------------------------------------------

    @rule()
    def claim(self) -> None:
        ready = self.model.ready(self.now)
        free = [entry for entry in ready if not self._is_held(entry.id)]
        found = self.ledger.claim(
            an_owner(), lambda id_: None if self._is_held(id_) else True, now=self.now
        )
        assert (found is not None) == bool(free)
        if found is not None:
            claim = found[0]
            assert claim.task.id == free[0].id
            assert claim.epoch == self.model.claim(claim.task.id)
            self.workers.append(Worker(claim))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        claim = self._one_of(data, self.workers).claim
        step = data.draw(st.sampled_from(("running", "harvested", "submitted")))
        self._go_on(step, claim)

    def _go_on(self, step: str, claim: Claim) -> None:
        before = TaskState.CLAIMED if step == "running" else TaskState.RUNNING
        to = TaskState.SUBMITTED if step == "submitted" else TaskState.RUNNING
        agreed = self.model.moves(claim.task.id, claim.epoch, (before,), to)
        self._agrees(agreed, lambda: self._step(step, claim))

    def _step(self, step: str, claim: Claim) -> None:
        if step == "running":
            self.ledger.running(claim, agent="a", base="b", now=self.now)
        elif step == "harvested":
            self.ledger.harvested(claim, head=f"h-{claim.key}", now=self.now)
        else:
            self.ledger.submitted(claim, base="b", merge=f"m-{claim.key}", now=self.now)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), outcome=ENDS, give_back=st.booleans())
    def end(self, data: st.DataObject, outcome: Outcome, give_back: bool) -> None:
        worker = self._one_of(data, self.workers)
        self._end(worker.claim.task.id, worker.claim.epoch, outcome, give_back=give_back)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), dies=st.booleans())
    def leave_or_slip(self, data: st.DataObject, dies: bool) -> None:
        """Its lock is free; it is dead, or does not know."""
        worker = self._one_of(data, self.workers)
        worker.holds = False
        if dies:
            self.workers.remove(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), step=st.sampled_from(("running", "submitted")))
    def haunt(self, data: st.DataObject, step: str) -> None:
        """One has lost its lock, is buried, and its task claimed again; and it goes on."""
        worker = self._one_of(data, self.workers)
        worker.holds = False
        self.bury()
        self.claim()
        if step == "submitted" and self.workers[-1].claim.task.id == worker.claim.task.id:
            self._go_on("running", self.workers[-1].claim)
        self._go_on(step, worker.claim)

    @rule()
    def bury(self) -> None:
        for candidate in self.ledger.held():
            if not self._is_held(candidate.id):
                self._end(candidate.id, candidate.epoch, Outcome.ABANDONED)

    @rule()
    def wake(self) -> None:
        self.ledger.wake(now=self.now)
        self.model.wake(self.now)

    # -- the lander -----------------------------------------------------------------------------

    @rule(lands=st.booleans())
    def plan(self, lands: bool) -> None:
        waiting = self.queue.waiting()
        assert {entry.task.id for entry in waiting} == {
            entry.id for entry in self.model.tasks.values() if entry.state in AFTER_SUBMISSION
        }
        if waiting:
            plan = [(entry, f"c-{entry.task.id}.{entry.epoch}") for entry in waiting[:2]]
            self.queue.landing(plan, now=self.now)
            for entry, _ in plan:
                assert self.model.moves(
                    entry.task.id, entry.epoch, AFTER_SUBMISSION, TaskState.LANDING
                )
            self.plans.append(plan)
            if lands:
                self._land(plan)

    @precondition(lambda self: self.plans)
    @rule(data=st.data())
    def land_by_some_plan(self, data: st.DataObject) -> None:
        self._land(self._one_of(data, self.plans))

    @precondition(lambda self: self.plans)
    @rule(data=st.data(), outcome=st.sampled_from((None, Outcome.REJECTED, Outcome.CONFLICT)))
    def take_back(self, data: st.DataObject, outcome: Outcome | None) -> None:
        entry, _ = self._one_of(data, self._one_of(data, self.plans))
        if outcome is None:
            self.queue.returned(entry, now=self.now)
            self.model.moves(entry.task.id, entry.epoch, (TaskState.LANDING,), TaskState.SUBMITTED)
        else:
            self._end(entry.task.id, entry.epoch, outcome, expected=AFTER_SUBMISSION)

    def _land(self, plan: list[tuple[Submission, str]]) -> None:
        known = self.model.tasks
        agreed = all(
            (known[entry.task.id].state, known[entry.task.id].epoch)
            == (TaskState.LANDING, entry.epoch)
            for entry, _ in plan
        )
        self._agrees(agreed, lambda: self.queue.landed(plan, now=self.now))
        if agreed:
            assert all(self.model.lands(entry.task.id, entry.epoch) for entry, _ in plan)

    # -- people, clock and disk -----------------------------------------------------------------

    @rule(id_=TASKS)
    def cancel(self, id_: str) -> None:
        assert (self.roster.cancel(id_, now=self.now) == "") == self.model.cancel(id_)

    @rule(id_=TASKS)
    def retry(self, id_: str) -> None:
        assert (self.roster.retry(id_, now=self.now) == "") == self.model.retry(id_)

    @rule(listed=st.permutations(sorted(NEEDS)), count=st.integers(3, len(NEEDS)))
    def edit_files(self, listed: list[str], count: int) -> None:
        self.edit(listed[:count])

    def edit(self, listed: list[str]) -> None:
        self.roster.sync([self.tasks[id_] for id_ in listed], now=self.now)
        self.model.sync(listed)

    @rule(seconds=st.sampled_from((-5000.0, -1.0, 0.5, 20.0, 5000.0)))
    def clock(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), nth=st.integers(1, 4), id_=TASKS)
    def the_disk_refuses(self, data: st.DataObject, nth: int, id_: str) -> None:
        """In the midst of a transition: it never was."""
        worker = self._one_of(data, self.workers)
        task, epoch = worker.claim.task.id, worker.claim.epoch
        before = self._rows()
        acts: list[Callable[[], object]] = [
            lambda: self.ledger.claim(an_owner(), lambda _: True, now=self.now),
            lambda: self.ledger.submitted(worker.claim, base="b", merge="m", now=self.now),
            lambda: self.ledger.ended(
                task, epoch, Outcome.REJECTED, "r", now=self.now, rng=self.rng
            ),
            lambda: self.roster.cancel(id_, now=self.now),
            lambda: self.roster.retry(id_, now=self.now),
            lambda: self.roster.sync([self.tasks["e"]], now=self.now),
        ]
        act = data.draw(st.sampled_from(acts))
        self.db.fails_in = nth
        with contextlib.suppress(StorageError, StaleError):
            act()
        assert self._rows() == before
        self.db.fails_in = 0

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def they_agree(self) -> None:
        for id_, state, epoch, tried, cancel, waiting, not_before in self.db.rows(
            "SELECT id, state, epoch, attempts, cancel, waiting, not_before FROM tasks"
        ):
            entry = self.model.tasks[str(id_)]
            said = (state, epoch, tried, bool(cancel))
            assert said == (entry.state, entry.epoch, entry.attempts, entry.cancel), entry
            assert isinstance(not_before, float)
            if entry.state is TaskState.PENDING:
                assert waiting == self.model.waits_for(entry), entry
                assert entry.not_before <= not_before <= max(entry.not_before, self._latest)
                entry.not_before = not_before  # the back-off is chance's
        for entry in self.model.tasks.values():
            assert len(entry.merged) <= 1

    @property
    def _latest(self) -> float:
        return 1_000_000.0 + 10_000_000.0

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        assert not [*attempts.overlaps(self.db), *attempts.accepted(self.db)]

    def _let_all_end(self) -> None:
        """Whatever has happened: once there is peace, every task ends."""
        self.workers.clear()
        for _ in range(200):
            self.now = max(self.now, 1_000_000.0) + 100_000.0
            self.wake()
            self.bury()
            self.claim()
            for worker in self.workers:
                for step in ("running", "submitted"):
                    self._step(step, worker.claim)
                    to = TaskState.RUNNING if step == "running" else TaskState.SUBMITTED
                    assert self.model.moves(worker.claim.task.id, worker.claim.epoch, HELD, to)
            self.workers.clear()
            self.plan(lands=True)
            self.they_agree()
            if all(entry.state in TERMINAL for entry in self.model.tasks.values()):
                break
        assert self.roster.counts().open == 0
        self.the_audit_finds_nothing()

    # -- tools ----------------------------------------------------------------------------------

    def _end(
        self,
        task: str,
        epoch: int,
        outcome: Outcome,
        *,
        give_back: bool = False,
        expected: tuple[TaskState, ...] = HELD,
    ) -> None:
        entry, until = self.model.tasks[task], self.now + 300.0
        agreed = entry.epoch == epoch and entry.state in expected
        if agreed:
            self.model.ends(task, epoch, outcome, give_back=give_back, until=until)
        self._agrees(
            agreed,
            lambda: self.ledger.ended(
                task,
                epoch,
                outcome,
                "over",
                now=self.now,
                rng=self.rng,
                expected=expected,
                give_back=give_back,
                until=until,
            ),
        )

    def _agrees(self, agreed: bool, act: Callable[[], object]) -> None:
        try:
            act()
        except StaleError:
            assert not agreed
        else:
            assert agreed

    def _is_held(self, id_: str) -> bool:
        return any(worker.holds and worker.claim.task.id == id_ for worker in self.workers)

    def _one_of(self, data: st.DataObject, items: Sequence[T]) -> T:
        return items[data.draw(st.integers(0, len(items) - 1))]

    def _rows(self) -> list[object]:
        tables = ("tasks", "attempts", "events", "landings")
        return [self.db.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def run(runs: int, steps: int, machine: type[LedgerMachine] = LedgerMachine) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            phases=(Phase.explicit, Phase.generate),  # a step more or less explains nothing here
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    run(options.runs, options.steps)
    sys.stdout.write(f"{options.runs} runs of {options.steps} steps: no disagreement\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
