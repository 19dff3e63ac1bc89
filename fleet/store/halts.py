"""What the proxy tells the workers, by attempt: that it must end, and how many turns it has had.

The proxy writes, the worker that holds the attempt reads; rows of earlier attempts mean nothing.
"""

from __future__ import annotations

from fleet.core.attempt import Claim
from fleet.core.halt import Halt, HaltKind
from fleet.core.task import TaskId
from fleet.store.database import Database


def order(db: Database, task: TaskId, epoch: int, halt: Halt) -> None:
    """The first one stands."""
    with db.transaction():
        db.write("DELETE FROM halts WHERE task = ? AND epoch < ?", (task, epoch))
        db.write(
            "INSERT OR IGNORE INTO halts(task, epoch, kind, until, reason) VALUES(?,?,?,?,?)",
            (task, epoch, halt.kind, halt.until, halt.reason),
        )


def find(db: Database, claim: Claim) -> Halt | None:
    row = db.one(
        "SELECT kind, until, reason FROM halts WHERE task = ? AND epoch = ?",
        (claim.task.id, claim.epoch),
    )
    if row is None:
        return None
    kind, until, reason = row
    assert isinstance(until, float)
    return Halt(kind=HaltKind(str(kind)), until=until, reason=str(reason))


def count_turns(db: Database, task: TaskId, epoch: int, turns: int) -> None:
    with db.transaction():
        db.write("DELETE FROM turns WHERE task = ? AND epoch < ?", (task, epoch))
        db.write("INSERT OR REPLACE INTO turns VALUES(?,?,?)", (task, epoch, turns))


def turns(db: Database, claim: Claim) -> int:
    """Answers that its agent has had, give or take a few."""
    row = db.one(
        "SELECT turns FROM turns WHERE task = ? AND epoch = ?", (claim.task.id, claim.epoch)
    )
    found = row[0] if row else 0
    assert isinstance(found, int)
    return found
