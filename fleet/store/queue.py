"""Submissions and landings: the lander's side of `state.db`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.core.attempt import Outcome
from fleet.core.errors import StaleError
from fleet.core.event import Event, Kind
from fleet.core.task import Task, TaskId, TaskState
from fleet.store import events
from fleet.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A proven attempt that waits to land."""

    task: Task
    epoch: int
    base: str  # the tip it was proven on
    head: str  # the agent's work
    merge: str  # the proven merge of the two, or the commit the lander has decided to land
    state: TaskState  # SUBMITTED, or LANDING when a lander died at it
    submitted_at: float
    agent: str
    cancelled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """One task's commit on the target branch."""

    commit: str
    task: TaskId
    epoch: int
    top: str  # the commit whose tree was gated: its own, or the last of its batch
    at: float


class Queue:
    """First submitted, first landed."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def waiting(self) -> list[Submission]:
        rows = self._db.rows(
            "SELECT t.spec, t.epoch, a.base, a.head, a.merge, t.state, a.submitted_at, a.agent, "
            "t.cancel FROM tasks t INDEXED BY live JOIN attempts a "
            "ON a.task = t.id AND a.epoch = t.epoch "
            "WHERE t.state IN ('submitted', 'landing') ORDER BY a.submitted_at, t.id"
        )
        return [
            Submission(
                task=Task.of_json(str(spec)),
                epoch=epoch,
                base=str(base),
                head=str(head),
                merge=str(merge),
                state=TaskState(str(state)),
                submitted_at=float(at),
                agent=str(agent),
                cancelled=bool(cancel),
            )
            for spec, epoch, base, head, merge, state, at, agent, cancel in rows
            if isinstance(epoch, int) and isinstance(at, (int, float))
        ]

    def landing(self, plan: Sequence[tuple[Submission, str]], *, now: float) -> None:
        """Write down which commits are about to land, before any ref moves."""
        with self._db.transaction():
            for submission, commit in plan:
                id_, epoch = submission.task.id, submission.epoch
                changed = self._db.write(
                    "UPDATE tasks SET state = 'landing' WHERE id = ? AND epoch = ? "
                    "AND state IN ('submitted', 'landing')",
                    (id_, epoch),
                )
                if changed != 1:
                    raise StaleError(f"{id_}.{epoch} is no longer ours")
                self._db.write(
                    "UPDATE attempts SET merge = ? WHERE task = ? AND epoch = ?",
                    (commit, id_, epoch),
                )
                events.append(
                    self._db,
                    Event(kind=Kind.LANDING, at=now, task=id_, epoch=epoch, commit=commit),
                )

    def landed(self, plan: Sequence[tuple[Submission, str]], *, now: float) -> None:
        """The branch has them. One transaction for a batch, like the ref that moved."""
        top = plan[-1][1]
        with self._db.transaction():
            for submission, commit in plan:
                self._land(
                    submission,
                    Landing(
                        commit=commit,
                        task=submission.task.id,
                        epoch=submission.epoch,
                        top=top,
                        at=now,
                    ),
                )

    def returned(self, submission: Submission, *, now: float) -> None:
        """A planned landing did not happen: it is a submission again."""
        with self._db.transaction():
            self._db.write(
                "UPDATE tasks SET state = 'submitted' WHERE id = ? AND epoch = ? "
                "AND state = 'landing'",
                (submission.task.id, submission.epoch),
            )

    def landings(self) -> list[Landing]:
        rows = self._db.rows('SELECT "commit", task, epoch, top, at FROM landings ORDER BY at')
        return [
            Landing(commit=str(commit), task=str(task), epoch=epoch, top=str(top), at=at)
            for commit, task, epoch, top, at in rows
            if isinstance(epoch, int) and isinstance(at, float)
        ]

    def external(self, commits: Sequence[str], *, now: float) -> None:
        """Commits that are not ours became part of the base."""
        with self._db.transaction():
            for commit in commits:
                self._db.write("INSERT OR IGNORE INTO externals VALUES(?,?)", (commit, now))
            if commits:
                events.append(
                    self._db,
                    Event(
                        kind=Kind.EXTERNAL, at=now, commit=commits[0], number=float(len(commits))
                    ),
                )

    def externals(self) -> frozenset[str]:
        return frozenset(str(row[0]) for row in self._db.rows('SELECT "commit" FROM externals'))

    def _land(self, submission: Submission, landing: Landing) -> None:
        db, id_ = self._db, landing.task
        changed = db.write(
            "UPDATE tasks SET state = 'merged', landed = ?, reason = '' "
            "WHERE id = ? AND epoch = ? AND state = 'landing'",
            (landing.commit, id_, landing.epoch),
        )
        if changed != 1:
            raise StaleError(f"{id_}.{landing.epoch} is no longer ours")
        db.write(
            "UPDATE attempts SET outcome = ?, ended_at = ?, merge = ? WHERE task = ? AND epoch = ?",
            (Outcome.MERGED, landing.at, landing.commit, id_, landing.epoch),
        )
        db.write(
            "INSERT INTO landings VALUES(?,?,?,?,?)",
            (landing.commit, id_, landing.epoch, landing.top, landing.at),
        )
        db.write(
            "UPDATE tasks SET waiting = waiting - 1 WHERE id IN "
            "(SELECT task FROM needs WHERE needs = ?) AND waiting > 0",
            (id_,),
        )
        events.append(
            db,
            Event(
                kind=Kind.LANDED,
                at=landing.at,
                task=id_,
                epoch=landing.epoch,
                agent=submission.agent,
                commit=landing.commit,
            ),
        )
