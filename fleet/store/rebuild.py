"""Taking over into the ledger what git knows and it does not: the branch is the truth.

One transaction, and a no-op where the ledger is up to date. So a new ledger, one that was rebuilt
and an older copy of one all end with the same landings, and with epochs that never go back: an
epoch that any ref or folder names is not given out again.

Not brought back: how attempts failed, what they cost, tasks that were cancelled or had failed.
They are open again, with all their attempts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fleet.core.attempt import Outcome, attempt_key
from fleet.core.event import Event, Kind
from fleet.core.task import IN_FLIGHT, TERMINAL, Task, TaskId, TaskState
from fleet.core.truth import AttemptId, Landed, Truth
from fleet.store import events
from fleet.store.controls import Controls
from fleet.store.database import Database

RECONCILED = "reconciled"  # control row: the tips up to which the branch has been read
_LOST = "known from git only"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """What the ledger had not known."""

    landed: tuple[TaskId, ...] = ()
    raised: tuple[TaskId, ...] = ()  # tasks whose newest attempt was unknown

    def __bool__(self) -> bool:
        return bool(self.landed or self.raised)

    def __str__(self) -> str:
        landed, raised = len(self.landed), len(self.raised)
        return (
            f"{landed} landed task{'s' * (landed != 1)} and {raised} task{'s' * (raised != 1)} "
            "with attempts that had not landed"
        )


class Witness(Protocol):
    """What is only asked of attempts that the ledger does not know."""

    def is_alive(self, task: TaskId) -> bool:
        """Whether somebody works on it now: then it is left for the next time."""

    def base_of(self, attempt: AttemptId) -> str:
        """The commit its workspace began with, if that still stands with work in it."""

    def passed(self, attempt: AttemptId) -> bool:
        """Whether the gate once passed it: its work needs no second agent run."""


def reconciled(db: Database) -> tuple[str, ...]:
    """The tips the ledger has been compared with; () for a ledger that never was."""
    return tuple(Controls(db).get(RECONCILED).split())


def take_over(db: Database, truth: Truth, witness: Witness, *, why: str, now: float) -> TakenOver:
    """`why` the ledger had to be made anew; "" when it had not."""
    with db.transaction():
        writer = _Writer(db, truth, witness, now)
        landed = tuple(entry.task for entry in truth.landed if writer.land(entry))
        raised = tuple(task for task, epoch in truth.epochs.items() if writer.lift(task, epoch))
        for commit in truth.outside:
            db.write("INSERT OR IGNORE INTO externals VALUES(?,?)", (commit, now))
        taken = TakenOver(landed=landed, raised=raised)
        if taken or why:
            said = f"{why}: " if why else ""
            reason = f"{said}taken over from git: {taken}"
            events.append(db, Event(kind=Kind.REBUILT, at=now, reason=reason))
        if not writer.left:
            tips = " ".join(truth.tips) or "none"
            db.write("INSERT OR REPLACE INTO controls VALUES(?,?)", (RECONCILED, tips))
    return taken


class _Writer:
    """Inside one transaction."""

    def __init__(self, db: Database, truth: Truth, witness: Witness, now: float) -> None:
        self._db = db
        self._truth = truth
        self._witness = witness
        self._now = now
        self.left = False  # something was, for the next time

    def land(self, entry: Landed) -> bool:
        """Whether the ledger had not known that this task has landed."""
        db, task = self._db, entry.task
        found = self._find(task)
        if found is not None:
            state, epoch, planned = found
            if state is TaskState.MERGED or planned == entry.commit:
                return False  # by this commit or another; or the lander is just about to write it
            if not self._end_open(task, state, epoch, but=entry.epoch):
                return False
        else:
            self._add(task, entry.subject)
        db.write(
            "UPDATE tasks SET state = 'merged', epoch = ?, landed = ?, reason = '' WHERE id = ?",
            (entry.epoch, entry.commit, task),
        )
        self._attempt(task, entry.epoch, Outcome.MERGED, merge=entry.commit, at=entry.at)
        db.write(
            'INSERT OR REPLACE INTO landings("commit", task, epoch, top, at) VALUES(?,?,?,?,?)',
            (entry.commit, task, entry.epoch, entry.commit, entry.at),
        )
        db.write("INSERT OR IGNORE INTO passes VALUES(?,?,?)", (entry.tree, _LOST, entry.at))
        db.write(
            "UPDATE tasks SET waiting = waiting - 1 WHERE id IN "
            "(SELECT task FROM needs WHERE needs = ?) AND waiting > 0",
            (task,),
        )
        db.write("DELETE FROM sessions WHERE task = ?", (task,))
        self._tell(Kind.LANDED, task, entry.epoch, commit=entry.commit)
        return True

    def lift(self, task: TaskId, epoch: int) -> bool:
        """Whether a newer attempt has left traces than the ledger knows of."""
        found = self._find(task)
        state = TaskState.PENDING
        if found is None:
            self._add(task, _LOST)
        else:
            state, known, _ = found
            if known >= epoch or state is TaskState.MERGED:
                return False
            if not self._end_open(task, state, known):
                return False
        base = "" if state in TERMINAL else self._witness.base_of((task, epoch))
        head = self._truth.heads.get((task, epoch), "")
        if base:
            # Whoever finds its lock free ends its processes and keeps its work, as ever.
            self._attempt(task, epoch, None, base=base, at=self._now)
            state = TaskState.RUNNING
        else:
            head = head if head and self._witness.passed((task, epoch)) else ""
            self._attempt(task, epoch, Outcome.ABANDONED, head=head, at=self._now)
            state = TaskState.PENDING if state in IN_FLIGHT else state
        self._db.write("UPDATE tasks SET state = ?, epoch = ? WHERE id = ?", (state, epoch, task))
        return True

    def _find(self, task: TaskId) -> tuple[TaskState, int, str] | None:
        row = self._db.one(
            "SELECT t.state, t.epoch, coalesce(a.merge, '') FROM tasks t LEFT JOIN attempts a "
            "ON a.task = t.id AND a.epoch = t.epoch AND t.state = 'landing' WHERE t.id = ?",
            (task,),
        )
        if row is None:
            return None
        state, epoch, planned = row
        assert isinstance(epoch, int)
        return TaskState(str(state)), epoch, str(planned)

    def _end_open(self, task: TaskId, state: TaskState, epoch: int, but: int = -1) -> bool:
        """Give up the attempt the ledger believes in, unless its worker lives."""
        if state not in IN_FLIGHT:
            return True
        if self._witness.is_alive(task):
            self.left = True
            return False
        if epoch != but:
            self._attempt(task, epoch, Outcome.ABANDONED, at=self._now)
            self._tell(Kind.RETURNED, task, epoch, state=TaskState.PENDING)
        return True

    def _add(self, task: TaskId, headline: str) -> None:
        """Its file says the rest, if it is still there."""
        spec = Task(id=task, prompt=headline or _LOST, source="git")
        self._db.write(
            "INSERT INTO tasks(seq, priority, spec, paths, id, state) VALUES(0,?,?,'',?,'pending')",
            (spec.priority, spec.as_json(), task),
        )

    def _attempt(
        self,
        task: TaskId,
        epoch: int,
        outcome: Outcome | None,
        *,
        at: float,
        base: str = "",
        head: str = "",
        merge: str = "",
    ) -> None:
        db = self._db
        db.write(
            "INSERT OR IGNORE INTO attempts(task, epoch, worker, host, boot_id, pid, started, "
            "claimed_at, base, head, reason) VALUES(?,?,'','','',0,0,?,?,?,?)",
            (task, epoch, at, base, head, _LOST),
        )
        if outcome is not None:
            db.write(
                "UPDATE attempts SET outcome = ?, ended_at = ?, merge = ? "
                "WHERE task = ? AND epoch = ?",
                (outcome, at, merge, task, epoch),
            )

    def _tell(
        self, kind: Kind, task: TaskId, epoch: int, *, commit: str = "", state: str = ""
    ) -> None:
        events.append(
            self._db,
            Event(
                kind=kind,
                at=self._now,
                task=task,
                epoch=epoch,
                commit=commit,
                state=state,
                reason=f"{attempt_key(task, epoch)} is {_LOST}",
            ),
        )
