"""The event table: appended to inside the transaction that makes a thing true."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.core.event import Event, Kind
from fleet.store.database import Database, Row

_SELECT = "SELECT seq, at, kind, task, epoch, body FROM events"


def append(db: Database, event: Event) -> None:
    """Only inside a transaction: an event and what it tells of are durable together."""
    db.write(
        "INSERT INTO events(at, kind, task, epoch, body) VALUES(?,?,?,?,?)",
        (event.at, event.kind, event.task, event.epoch, event.body()),
    )


def emit(db: Database, event: Event) -> None:
    """An event that narrates something outside the ledger."""
    with db.transaction():
        append(db, event)


def last_seq(db: Database) -> int:
    row = db.one("SELECT max(seq) FROM events")
    return int(row[0]) if row and isinstance(row[0], int) else 0


def newest(db: Database, kind: Kind) -> Event | None:
    """The last of a kind, if it ever happened."""
    rows = db.rows(f"{_SELECT} WHERE kind = ? ORDER BY seq DESC LIMIT 1", (kind,))
    return next(_events(rows), None)


def since(db: Database, seq: int, *, limit: int = 1000) -> Iterator[Event]:
    """Events after `seq`, oldest first."""
    yield from _events(
        db.rows(
            f"{_SELECT} WHERE seq > ? ORDER BY seq LIMIT ?",
            (seq, limit),
        )
    )


def of_task(db: Database, task: str) -> Iterator[Event]:
    yield from _events(
        db.rows(
            f"{_SELECT} WHERE task = ? ORDER BY seq",
            (task,),
        )
    )


def _events(rows: list[Row]) -> Iterator[Event]:
    for seq, at, kind, task, epoch, body in rows:
        assert isinstance(seq, int)
        assert isinstance(at, float)
        assert isinstance(epoch, int)
        event = Event.of(
            seq=seq, at=at, kind=str(kind), task=str(task), epoch=epoch, body=str(body)
        )
        if event is not None:
            yield event
