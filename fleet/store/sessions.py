"""What an attempt that was cut short left for the next: its folders, and its agent's session.

A row is written when the agent is about to start. The folders it names are the attempt's own or,
when it went on with an earlier one's, that attempt's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fleet.core.attempt import Claim
from fleet.core.task import TERMINAL, TaskId
from fleet.store.database import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    task: TaskId
    epoch: int
    agent: str
    rooms: int  # the epoch whose folders it works in
    base: str  # the commit they began with
    id: str  # by which the agent's program knows it; "" until it is known


def begin(db: Database, claim: Claim, *, agent: str, rooms: int, base: str, id_: str) -> None:
    db.write(
        "INSERT OR REPLACE INTO sessions(task, epoch, agent, rooms, base, session) "
        "VALUES(?,?,?,?,?,?)",
        (claim.task.id, claim.epoch, agent, rooms, base, id_),
    )


def name(db: Database, claim: Claim, id_: str) -> None:
    """The agent has told its session's id."""
    db.write(
        "UPDATE sessions SET session = ? WHERE task = ? AND epoch = ?",
        (id_, claim.task.id, claim.epoch),
    )


def find(db: Database, task: TaskId, epoch: int) -> Session | None:
    """What one attempt worked in, unless its work is in the hub already."""
    row = db.one(
        "SELECT s.task, s.epoch, s.agent, s.rooms, s.base, s.session FROM sessions s "
        "JOIN attempts a ON a.task = s.task AND a.epoch = s.epoch "
        "WHERE s.task = ? AND s.epoch = ? AND a.head = ''",
        (task, epoch),
    )
    return _session(row) if row else None


def newest(db: Database, task: TaskId, *, before: int) -> Session | None:
    """What the last attempt that came so far worked in: one after it may have died at once."""
    row = db.one("SELECT max(epoch) FROM sessions WHERE task = ? AND epoch < ?", (task, before))
    assert row is not None
    return None if row[0] is None else find(db, task, _int(row[0]))


def may_go_on(db: Database, task: TaskId, rooms: int) -> bool:
    """Whether the next attempt may go on in these folders."""
    row = db.one("SELECT max(epoch) FROM sessions WHERE task = ? AND rooms = ?", (task, rooms))
    assert row is not None
    return row[0] is not None and find(db, task, _int(row[0])) is not None


def rooms_of(db: Database, task: TaskId, epoch: int) -> int:
    """The epoch whose folders an attempt works in; 0 when a later one has taken them over."""
    row = db.one("SELECT rooms FROM sessions WHERE task = ? AND epoch = ?", (task, epoch))
    rooms = _int(row[0]) if row else epoch
    taken = db.one(
        "SELECT 1 FROM sessions WHERE task = ? AND rooms = ? AND epoch > ?", (task, rooms, epoch)
    )
    return 0 if taken else rooms


def rooms_in_use(db: Database) -> frozenset[tuple[TaskId, int]]:
    """The folders, by their epochs, that open tasks may go on in."""
    marks = ",".join("?" * len(TERMINAL))
    rows = db.rows(
        "SELECT s.task, s.rooms FROM sessions s JOIN tasks t ON t.id = s.task "  # noqa: S608
        f"WHERE t.state NOT IN ({marks})",
        sorted(TERMINAL),
    )
    return frozenset((str(task), _int(rooms)) for task, rooms in rows)


def forget(db: Database, task: TaskId, rooms: int) -> None:
    """The folders are gone."""
    db.write("DELETE FROM sessions WHERE task = ? AND rooms = ?", (task, rooms))


def of_ended_tasks(db: Database) -> Iterator[Session]:
    """Nobody will go on with these."""
    marks = ",".join("?" * len(TERMINAL))
    rows = db.rows(
        "SELECT s.task, s.epoch, s.agent, s.rooms, s.base, s.session FROM sessions s "  # noqa: S608
        f"JOIN tasks t ON t.id = s.task WHERE t.state IN ({marks})",
        sorted(TERMINAL),
    )
    return map(_session, rows)


def _session(row: Row) -> Session:
    task, epoch, agent, rooms, base, id_ = row
    return Session(
        task=str(task),
        epoch=_int(epoch),
        agent=str(agent),
        rooms=_int(rooms),
        base=str(base),
        id=str(id_),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
