"""Rows a person writes and the fleet obeys: no socket, no admin port."""

from __future__ import annotations

from fleet.core.event import Event, Kind
from fleet.store import events
from fleet.store.database import Database


class Controls:
    """Named values; an absent name is "". Polled cheaply through the database's version."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, name: str) -> str:
        row = self._db.one("SELECT value FROM controls WHERE name = ?", (name,))
        return str(row[0]) if row else ""

    def set(
        self,
        name: str,
        value: str,
        *,
        kind: Kind | None = None,
        now: float = 0.0,
        reason: str | None = None,
    ) -> None:
        """With an event of that kind, whose reason is the value if nothing else is said."""
        with self._db.transaction():
            if value:
                self._db.write("INSERT OR REPLACE INTO controls VALUES(?,?)", (name, value))
            else:
                self._db.write("DELETE FROM controls WHERE name = ?", (name,))
            if kind is not None:
                events.append(
                    self._db, Event(kind=kind, at=now, reason=value if reason is None else reason)
                )
