"""Claims and attempts: every transition of a task from pending to submitted, or back.

DESIGN. Each transition is one transaction `UPDATE … WHERE task AND epoch AND state` with its
event; a row count other than one means the caller is stale and must stop. The epoch is durable
before any side effect of an attempt, and fences every later write.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from fleet.core.attempt import Claim, Outcome, Owner
from fleet.core.errors import StaleError
from fleet.core.event import Event, Kind
from fleet.core.policy import Backoff, Candidate, Next, Record, after, order
from fleet.core.task import HELD, TERMINAL, Task, TaskId, TaskState
from fleet.store import events
from fleet.store.database import Database, Row

LOOKAHEAD = 32  # ready tasks looked at for one claim

Lock = TypeVar("Lock")


class Ledger:
    """The worker's side of `state.db`."""

    def __init__(self, db: Database, backoff: Backoff, *, unproven_allowed: int = 2) -> None:
        self._db = db
        self._backoff = backoff
        self._unproven_allowed = unproven_allowed

    def held(self) -> list[Candidate]:
        """Tasks somebody works on; whoever finds their lock free knows that worker is dead."""
        return _candidates(
            self._db.rows(
                "SELECT id, state, epoch, paths FROM tasks INDEXED BY live "
                "WHERE state IN ('claimed', 'running')"
            )
        )

    def ready(
        self, *, now: float, limit: int = LOOKAHEAD, without: Collection[str] = ()
    ) -> list[Candidate]:
        """The next tasks to claim, most urgent first, then in file order; `without` those of some
        agents ("" is the agent of tasks that name none).

        No back-off is longer than its cap: a time beyond that was set before the clock went back.
        """
        marks = ",".join("?" * len(without))
        others = f"AND coalesce(spec ->> '$.agent', '') NOT IN ({marks}) " if without else ""
        return _candidates(
            self._db.rows(
                "SELECT id, state, epoch, paths FROM tasks INDEXED BY ready "  # noqa: S608
                "WHERE state = 'pending' AND waiting = 0 "
                f"AND (not_before <= ? OR not_before > ?) {others}"
                "ORDER BY priority, seq, id LIMIT ?",
                (now, now + self._backoff.cap_s, *without, limit),
            )
        )

    def agents_wanted(self) -> frozenset[str]:
        """The agents that tasks which have not ended name; "" for the fleet's own."""
        marks = ",".join("?" * len(TERMINAL))
        rows = self._db.rows(
            "SELECT DISTINCT coalesce(spec ->> '$.agent', '') FROM tasks "  # noqa: S608
            f"WHERE state NOT IN ({marks})",
            sorted(TERMINAL),
        )
        return frozenset(str(row[0]) for row in rows)

    def may_become_ready(self) -> bool:
        """Whether a task is ready, or will be once its back-off has passed."""
        return (
            self._db.one(
                "SELECT 1 FROM tasks INDEXED BY ready "
                "WHERE state = 'pending' AND waiting = 0 LIMIT 1"
            )
            is not None
        )

    def wake(self, *, now: float, early: bool = False) -> int:
        """Parked tasks whose time has come, or all of them, may be claimed. How many."""
        due = (
            "SELECT id, epoch FROM tasks INDEXED BY live WHERE state = 'parked' AND not_before <= ?"
        )
        values = (math.inf if early else now,)
        if not self._db.rows(due, values):
            return 0
        with self._db.transaction():
            found = self._db.rows(due, values)
            for id_, epoch in found:
                self._db.write(
                    "UPDATE tasks SET state = 'pending', not_before = 0 WHERE id = ?", (id_,)
                )
                event = Event(kind=Kind.UNPARKED, at=now, task=str(id_), epoch=_int(epoch))
                events.append(self._db, event)
        return len(found)

    def claim(
        self,
        owner: Owner,
        try_hold: Callable[[TaskId], Lock | None],
        *,
        now: float,
        without: Collection[str] = (),
    ) -> tuple[Claim, Lock] | None:
        """Claim the most urgent ready task whose lock can be had; None when there is none.

        The lock is taken inside the transaction and before anything is written: claimers queue
        for the database instead of racing for locks.
        """
        if not self.ready(now=now, limit=1, without=without):
            return None
        with self._db.transaction():
            for candidate in self._in_turn(now, without):
                lock = try_hold(candidate.id)
                if lock is not None:
                    return self._take(candidate, owner, now=now), lock
        return None

    def _in_turn(self, now: float, without: Collection[str]) -> Iterator[Candidate]:
        """Nearly always the first one will do, and the rest is not even read."""
        first = self.ready(now=now, limit=1, without=without)
        if first and not first[0].paths:
            yield first[0]
        ready = self.ready(now=now, without=without)
        busy = self._busy_paths() if any(candidate.paths for candidate in ready) else ()
        yield from order(ready, busy)

    def _take(self, candidate: Candidate, owner: Owner, *, now: float) -> Claim:
        db, id_, epoch = self._db, candidate.id, candidate.epoch + 1
        row = db.one("SELECT spec, attempts FROM tasks WHERE id = ?", (id_,))
        assert row is not None
        # Work whose worker died, or whose gate could not run for once, needs no second agent run.
        earlier = db.one(
            "SELECT a.head FROM attempts a JOIN tasks t ON t.id = a.task "
            "WHERE a.task = ? AND a.epoch = ? AND (a.outcome IN ('abandoned', 'parked') "
            "OR a.outcome = 'unproven' AND t.unproven = 1)",
            (id_, candidate.epoch),
        )
        db.write(
            "UPDATE tasks SET state = 'claimed', epoch = ?, attempts = attempts + 1, reason = '' "
            "WHERE id = ?",
            (epoch, id_),
        )
        db.write(
            "INSERT INTO attempts(task, epoch, worker, host, boot_id, pid, started, claimed_at) "
            "VALUES(?,?,?,?,?,?,?,?)",
            (id_, epoch, owner.worker, owner.host, owner.boot_id, owner.pid, owner.started, now),
        )
        events.append(
            db, Event(kind=Kind.CLAIMED, at=now, task=id_, epoch=epoch, worker=owner.worker)
        )
        return Claim(
            task=Task.of_json(str(row[0])),
            epoch=epoch,
            attempt=_int(row[1]) + 1,
            owner=owner,
            harvested=str(earlier[0]) if earlier else "",
        )

    def _busy_paths(self) -> list[tuple[str, ...]]:
        """The declared paths of all work in flight."""
        rows = self._db.rows(
            "SELECT paths FROM tasks INDEXED BY live "
            "WHERE state IN ('claimed', 'running', 'submitted', 'landing')"
        )
        return [_split(paths) for (paths,) in rows]

    def running(self, claim: Claim, *, agent: str, base: str, now: float) -> None:
        """The workspace stands; the agent is about to start."""
        with self._db.transaction():
            self._move(claim.task.id, claim.epoch, {TaskState.CLAIMED}, TaskState.RUNNING)
            self._note(claim, agent=agent, base=base)
            events.append(
                self._db,
                Event(
                    kind=Kind.RUNNING,
                    at=now,
                    task=claim.task.id,
                    epoch=claim.epoch,
                    worker=claim.owner.worker,
                    agent=agent,
                    commit=base,
                ),
            )

    def harvested(self, claim: Claim, *, head: str, now: float) -> None:
        """The agent's work is in the hub: from here on a crash costs no second agent run."""
        with self._db.transaction():
            self._move(claim.task.id, claim.epoch, {TaskState.RUNNING}, TaskState.RUNNING)
            self._note(claim, head=head)
            events.append(
                self._db,
                Event(
                    kind=Kind.HARVESTED, at=now, task=claim.task.id, epoch=claim.epoch, commit=head
                ),
            )

    def submitted(self, claim: Claim, *, base: str, merge: str, now: float) -> None:
        """Proven on `base` as `merge`. After this the lock may be released."""
        with self._db.transaction():
            self._move(claim.task.id, claim.epoch, {TaskState.RUNNING}, TaskState.SUBMITTED)
            self._note(claim, base=base, merge=merge, submitted_at=now)
            events.append(
                self._db,
                Event(
                    kind=Kind.SUBMITTED, at=now, task=claim.task.id, epoch=claim.epoch, commit=merge
                ),
            )

    def ended(
        self,
        task: TaskId,
        epoch: int,
        outcome: Outcome,
        reason: str,
        *,
        now: float,
        rng: random.Random,
        expected: Collection[TaskState] = HELD,
        findings: Iterable[str] = (),
        give_back: bool = False,
        until: float = 0.0,
    ) -> Next:
        """The attempt is over without being merged: retry, park until then, or give up, as policy
        says."""
        db = self._db
        with db.transaction():
            row = db.one(
                "SELECT spec, attempts, conflicts, unproven, deaths, cancel FROM tasks "
                "WHERE id = ? AND epoch = ?",
                (task, epoch),
            )
            if row is None:
                raise StaleError(f"{task}.{epoch}")
            if row[5]:
                outcome = Outcome.CANCELLED
            record = Record(
                attempts=_int(row[1]),
                max_attempts=Task.of_json(str(row[0])).max_attempts,
                conflicts=_int(row[2]) + (outcome is Outcome.CONFLICT),
                unproven=_int(row[3]) + (outcome is Outcome.UNPROVEN),
                unproven_allowed=self._unproven_allowed,
                deaths=_int(row[4]) + 1 if outcome is Outcome.ABANDONED and not give_back else 0,
            )
            if give_back and outcome is Outcome.ABANDONED:
                step = Next(state=TaskState.PENDING, reason=reason, counted=False)
            else:
                step = after(outcome, reason, record, self._backoff, now=now, rng=rng, until=until)
            self._move(task, epoch, expected, step.state)
            db.write(
                "UPDATE tasks SET attempts = attempts - ?, conflicts = ?, unproven = ?, deaths = ?,"
                " not_before = ?, reason = ?, cancel = 0 WHERE id = ?",
                (
                    0 if step.counted else 1,
                    record.conflicts,
                    record.unproven,
                    record.deaths,
                    step.not_before,
                    step.reason,
                    task,
                ),
            )
            db.write(
                "UPDATE attempts SET ended_at = ?, outcome = ?, reason = ?, findings = ? "
                "WHERE task = ? AND epoch = ?",
                (now, outcome, reason, json.dumps(list(findings)), task, epoch),
            )
            terminal = step.state in TERMINAL
            events.append(
                db,
                Event(
                    kind=_told(step.state),
                    at=now,
                    task=task,
                    epoch=epoch,
                    state=step.state,
                    outcome=outcome,
                    reason=step.reason,
                    number=step.not_before if step.state is TaskState.PARKED else 0.0,
                ),
            )
            if terminal:
                block_dependents(db, task, now=now)
        return step

    def cancel_asked(self, claim: Claim) -> bool:
        """Whether a person wants this attempt ended, or it is no longer ours."""
        row = self._db.one(
            "SELECT cancel FROM tasks WHERE id = ? AND epoch = ?", (claim.task.id, claim.epoch)
        )
        return row is None or bool(row[0])

    def stands(self, task: TaskId, epoch: int, states: Collection[TaskState]) -> bool:
        """Whether a task is still at this epoch and in one of these states."""
        row = self._db.one("SELECT state FROM tasks WHERE id = ? AND epoch = ?", (task, epoch))
        return row is not None and TaskState(str(row[0])) in states

    def last_findings(self, task: TaskId) -> tuple[Outcome | None, str, tuple[str, ...]]:
        """How the newest ended attempt of a task went, for the next prompt."""
        row = self._db.one(
            "SELECT outcome, reason, findings FROM attempts WHERE task = ? AND outcome IS NOT NULL "
            "AND outcome NOT IN ('abandoned', 'parked', 'cancelled') ORDER BY epoch DESC LIMIT 1",
            (task,),
        )
        if row is None:
            return None, "", ()
        return Outcome(str(row[0])), str(row[1]), tuple(json.loads(str(row[2]) or "[]"))

    def _move(
        self, task: TaskId, epoch: int, expected: Collection[TaskState], to: TaskState
    ) -> None:
        marks = ",".join("?" * len(expected))
        changed = self._db.write(
            f"UPDATE tasks SET state = ? WHERE id = ? AND epoch = ? AND state IN ({marks})",  # noqa: S608
            (to, task, epoch, *sorted(expected)),
        )
        if changed != 1:
            raise StaleError(f"{task}.{epoch} is no longer ours")

    def _note(self, claim: Claim, **columns: str | float) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.write(
            f"UPDATE attempts SET {names} WHERE task = ? AND epoch = ?",  # noqa: S608
            (*columns.values(), claim.task.id, claim.epoch),
        )


def _told(state: TaskState) -> Kind:
    if state is TaskState.PARKED:
        return Kind.PARKED
    return Kind.ENDED if state in TERMINAL else Kind.RETURNED


def block_dependents(db: Database, task: TaskId, *, now: float) -> None:
    """Everything pending that waits for `task`, directly or not, cannot run any more."""
    frontier = [task]
    while frontier:
        needed = frontier.pop()
        for (dependent,) in db.rows(
            "SELECT t.id FROM needs n JOIN tasks t ON t.id = n.task "
            "WHERE n.needs = ? AND t.state = 'pending'",
            (needed,),
        ):
            reason = f"depends on {needed}, which did not land"
            db.write(
                "UPDATE tasks SET state = 'blocked', reason = ? WHERE id = ?", (reason, dependent)
            )
            events.append(
                db,
                Event(
                    kind=Kind.ENDED,
                    at=now,
                    task=str(dependent),
                    state=TaskState.BLOCKED,
                    reason=reason,
                ),
            )
            frontier.append(str(dependent))


def _candidates(rows: list[Row]) -> list[Candidate]:
    return [
        Candidate(id=str(id_), state=TaskState(str(state)), epoch=_int(epoch), paths=_split(paths))
        for id_, state, epoch, paths in rows
    ]


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _split(paths: object) -> tuple[str, ...]:
    return tuple(str(paths).split("\n")) if paths else ()
