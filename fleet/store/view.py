"""A fleet as a reader sees it: the task files and the ledger together. Writes nothing.

Looking must never create state: where no fleet has run yet, the ledger is an empty one in memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fleet.core.attempt import Attempt, Outcome, Owner
from fleet.core.errors import UsageError
from fleet.core.state import TaskView
from fleet.core.task import TaskId
from fleet.store.database import MEMORY, Database
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from fleet.store.taskfiles import TaskFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    files: TaskFiles
    db: Database
    task_folder: Path

    def tasks(self) -> list[TaskView]:
        """Every task of the files, with what the ledger knows; then those only it remembers."""
        known = {entry.task.id: entry for entry in Roster(self.db).tasks()}
        listed = [
            known.get(task.id) or TaskView(task=task, state=task.status)
            for task in self.files.tasks
        ]
        named = {entry.task.id for entry in listed}
        return listed + [entry for id_, entry in known.items() if id_ not in named]

    def task(self, id_: TaskId) -> TaskView:
        found = next((entry for entry in self.tasks() if entry.task.id == id_), None)
        if found is None:
            raise UsageError(f"there is no task {id_!r}: see `fleet task list`")
        return found

    def attempts(self, id_: TaskId) -> list[Attempt]:
        return [attempt for attempt, _ in self.attempts_with_findings(id_)]

    def attempts_with_findings(self, id_: TaskId) -> list[tuple[Attempt, tuple[str, ...]]]:
        rows = self.db.rows(
            "SELECT task, epoch, worker, pid, agent, claimed_at, ended_at, outcome, reason, base, "
            "head, merge, findings FROM attempts WHERE task = ? ORDER BY epoch",
            (id_,),
        )
        return [
            (
                Attempt(
                    task=str(task),
                    epoch=_int(epoch),
                    worker=str(worker),
                    pid=_int(pid),
                    agent=str(agent),
                    claimed_at=_float(at),
                    ended_at=None if ended is None else _float(ended),
                    outcome=Outcome(str(outcome)) if outcome else None,
                    reason=str(reason),
                    base=str(base),
                    head=str(head),
                    merge=str(merge),
                ),
                tuple(json.loads(str(findings) or "[]")),
            )
            for (
                task,
                epoch,
                worker,
                pid,
                agent,
                at,
                ended,
                outcome,
                reason,
                base,
                head,
                merge,
                findings,
            ) in rows
        ]


def open_for_reading(path: Path) -> Database:
    """The ledger, read-only; an empty one in memory where there is none yet."""
    if path.exists():
        found = Database(path, read_only=True)
        if found.check_schema(MIGRATIONS):
            return found
        found.close()  # its maker has only just begun
    empty = Database(MEMORY)
    empty.migrate(MIGRATIONS)
    return empty


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _float(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)


def owner_of(db: Database, task: TaskId) -> Owner | None:
    """The process that holds, or held last, a task."""
    row = db.one(
        "SELECT host, boot_id, pid, started, worker FROM attempts WHERE task = ? "
        "ORDER BY epoch DESC LIMIT 1",
        (task,),
    )
    if row is None:
        return None
    host, boot_id, pid, started, worker = row
    return Owner(
        host=str(host),
        boot_id=str(boot_id),
        pid=_int(pid),
        started=_int(started),
        worker=str(worker),
    )
