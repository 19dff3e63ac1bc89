"""What the gate has found, by tree: the cache, and the trees that have passed.

Only runs in a clean checkout may be put here; the caller promises that. A report is a fact about
a tree and one gate, so it never expires: the gate hash changes when anything about the gate does.
"""

from __future__ import annotations

from fleet.store.database import Database


class Reports:
    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, tree: str, gate_hash: str) -> bytes | None:
        row = self._db.one(
            "SELECT body FROM reports WHERE tree = ? AND gate_hash = ?", (tree, gate_hash)
        )
        return row[0] if row and isinstance(row[0], bytes) else None

    def keep(self, tree: str, gate_hash: str, body: bytes, *, now: float) -> None:
        with self._db.transaction():
            self._db.write(
                "INSERT OR REPLACE INTO reports VALUES(?,?,?,?)", (tree, gate_hash, body, now)
            )

    def passed(self, tree: str, *, base: str, now: float) -> None:
        """Write down that `tree` passed against `base`, before any branch may move to it."""
        with self._db.transaction():
            self._db.write("INSERT OR IGNORE INTO passes VALUES(?,?,?)", (tree, base, now))

    def has_passed(self, tree: str) -> bool:
        return self._db.one("SELECT 1 FROM passes WHERE tree = ?", (tree,)) is not None
