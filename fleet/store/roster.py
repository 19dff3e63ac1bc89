"""The tasks as people see and change them: synced from files, listed, retried, cancelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from fleet.core.event import Event, Kind
from fleet.core.state import Counts, TaskView
from fleet.core.task import TERMINAL, Task, TaskId, TaskState
from fleet.store import events
from fleet.store.database import Database, Row, Value
from fleet.store.ledger import block_dependents

GONE = "removed from the task files"


class Roster:
    """The people's side of `state.db`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def sync(self, tasks: Iterable[Task], *, now: float) -> int:
        """Make the ledger know exactly these tasks; how many were new or changed.

        A running attempt is never changed: it goes on with the text it started with. A pending
        task that has vanished from the files is cancelled, and comes back with its file.
        """
        wanted = {task.id: (number, task) for number, task in enumerate(tasks)}
        known = {
            str(row[0]): row
            for row in self._db.rows("SELECT id, seq, spec, state, reason FROM tasks")
        }
        stale = [
            (number, task)
            for number, task in wanted.values()
            if task.id not in known or known[task.id][1:3] != (number, task.as_json())
        ]
        gone = [
            id_
            for id_, row in known.items()
            if id_ not in wanted and row[3] in (TaskState.PENDING, TaskState.PARKED)
        ]
        back = [
            id_
            for id_, row in known.items()
            if id_ in wanted and row[3] == TaskState.CANCELLED and row[4] == GONE
        ]
        if not (stale or gone or back):
            return 0
        with self._db.transaction():
            for number, task in stale:
                self._put(number, task, is_new=task.id not in known, now=now)
            for id_ in gone:
                self._end(id_, TaskState.CANCELLED, GONE, now=now)
            for id_ in back:
                self._revive(id_, now=now)
            self._count_waiting(now=now)
        return len(stale) + len(gone) + len(back)

    def tasks(self, *, states: Collection[TaskState] = ()) -> list[TaskView]:
        """Every task with where it stands, in file order."""
        where = f"WHERE t.state IN ({','.join('?' * len(states))})" if states else ""
        return [_view(row) for row in self._db.rows(_SELECT.format(where=where), sorted(states))]

    def task(self, id_: TaskId) -> TaskView | None:
        rows = self._db.rows(_SELECT.format(where="WHERE t.id = ?"), (id_,))
        return _view(rows[0]) if rows else None

    def counts(self) -> Counts:
        found = Counter(
            {
                TaskState(str(state)): number
                for state, number in self._db.rows(
                    "SELECT state, count(*) FROM tasks GROUP BY state"
                )
                if isinstance(number, int)
            }
        )
        return Counts(by_state=tuple(sorted(found.items())))

    def retry(self, id_: TaskId, *, now: float) -> str:
        """Give an ended task new attempts; "" or why not. Those it blocked come back with it."""
        view = self.task(id_)
        if view is None:
            return f"there is no task {id_!r}"
        if view.state not in TERMINAL:
            return f"task {id_!r} has not ended: it is {view.state}"
        if view.state is TaskState.MERGED:
            return f"task {id_!r} has landed"
        with self._db.transaction():
            self._revive(id_, now=now)
            for blocked in self._blocked_by(id_):
                self._revive(blocked, now=now)
            self._count_waiting(now=now)
        return ""

    def cancel(self, id_: TaskId, *, now: float) -> str:
        """Take a task out; a running attempt is stopped by its worker. "" or why not."""
        view = self.task(id_)
        if view is None:
            return f"there is no task {id_!r}"
        if view.state in TERMINAL:
            return f"task {id_!r} has ended: it is {view.state}"
        with self._db.transaction():
            ended = self._db.write(
                "UPDATE tasks SET state = 'cancelled', reason = 'cancelled' "
                "WHERE id = ? AND state IN ('pending', 'parked')",
                (id_,),
            )
            if ended:
                events.append(
                    self._db,
                    Event(
                        kind=Kind.ENDED,
                        at=now,
                        task=id_,
                        state=TaskState.CANCELLED,
                        reason="cancelled",
                    ),
                )
                block_dependents(self._db, id_, now=now)
            else:
                self._db.write("UPDATE tasks SET cancel = 1 WHERE id = ?", (id_,))
        return ""

    def _put(self, number: int, task: Task, *, is_new: bool, now: float) -> None:
        values: tuple[Value, ...] = (
            number,
            task.priority,
            task.as_json(),
            "\n".join(task.paths),
        )
        if is_new:
            self._db.write(
                "INSERT INTO tasks(seq, priority, spec, paths, id, state, reason) "
                "VALUES(?,?,?,?,?,?,?)",
                (*values, task.id, task.status, _given_reason(task)),
            )
        else:
            self._db.write(
                "UPDATE tasks SET seq = ?, priority = ?, spec = ?, paths = ? WHERE id = ?",
                (*values, task.id),
            )
        self._db.write("DELETE FROM needs WHERE task = ?", (task.id,))
        for needed in task.depends_on:
            self._db.write("INSERT OR IGNORE INTO needs VALUES(?,?)", (task.id, needed))
        kind = Kind.TASK_ADDED if is_new else Kind.TASK_CHANGED
        events.append(self._db, Event(kind=kind, at=now, task=task.id))

    def _end(self, id_: TaskId, state: TaskState, reason: str, *, now: float) -> None:
        self._db.write("UPDATE tasks SET state = ?, reason = ? WHERE id = ?", (state, reason, id_))
        events.append(
            self._db, Event(kind=Kind.ENDED, at=now, task=id_, state=state, reason=reason)
        )

    def _revive(self, id_: TaskId, *, now: float) -> None:
        self._db.write(
            "UPDATE tasks SET state = 'pending', attempts = 0, conflicts = 0, unproven = 0, "
            "deaths = 0, not_before = 0, cancel = 0, reason = '' WHERE id = ?",
            (id_,),
        )
        events.append(self._db, Event(kind=Kind.REVIVED, at=now, task=id_))

    def _blocked_by(self, id_: TaskId) -> list[TaskId]:
        """Blocked tasks that need `id_`, directly or not."""
        rows = self._db.rows(
            "WITH RECURSIVE behind(id) AS (SELECT task FROM needs WHERE needs = ? UNION "
            "SELECT n.task FROM needs n JOIN behind b ON n.needs = b.id) "
            "SELECT t.id FROM tasks t JOIN behind b ON t.id = b.id WHERE t.state = 'blocked'",
            (id_,),
        )
        return [str(row[0]) for row in rows]

    def _count_waiting(self, *, now: float) -> None:
        """Recount what each open task waits for, and block those that wait in vain."""
        self._db.write(
            "UPDATE tasks SET waiting = (SELECT count(*) FROM needs n JOIN tasks d "
            "ON d.id = n.needs WHERE n.task = tasks.id AND d.state != 'merged') "
            "WHERE state = 'pending' AND id IN (SELECT task FROM needs)"
        )
        for (id_,) in self._db.rows(
            "SELECT DISTINCT d.id FROM needs n JOIN tasks d ON d.id = n.needs "
            "JOIN tasks t ON t.id = n.task WHERE t.state = 'pending' "
            "AND d.state IN ('failed', 'poisoned', 'cancelled', 'blocked')"
        ):
            block_dependents(self._db, str(id_), now=now)


_SELECT = (
    "SELECT t.spec, t.state, t.epoch, t.attempts, t.reason, t.landed, t.waiting, t.not_before, "
    "a.worker, a.agent, a.claimed_at, a.outcome FROM tasks t LEFT JOIN attempts a "
    "ON a.task = t.id AND a.epoch = t.epoch {where} ORDER BY t.seq, t.id"
)


def _view(row: Row) -> TaskView:
    spec, state, epoch, attempts, reason, landed, waiting, not_before, worker, agent, at, _ = row
    assert isinstance(epoch, int)
    assert isinstance(attempts, int)
    assert isinstance(waiting, int)
    return TaskView(
        task=Task.of_json(str(spec)),
        state=TaskState(str(state)),
        epoch=epoch,
        attempts=attempts,
        reason=str(reason),
        landed=str(landed),
        waiting=waiting,
        not_before=float(not_before) if isinstance(not_before, (int, float)) else 0.0,
        worker=str(worker or ""),
        agent=str(agent or ""),
        claimed_at=float(at) if isinstance(at, (int, float)) else 0.0,
    )


def _given_reason(task: Task) -> str:
    if task.status is TaskState.MERGED:
        return "marked completed in its file"
    return task.failure_reason if task.status is TaskState.FAILED else ""
