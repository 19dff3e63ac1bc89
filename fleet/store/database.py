"""One SQLite file and the rules for using it.

apsw brings a current SQLite: those before 3.51.3 can corrupt a WAL that two connections write.
WAL with synchronous=FULL: a committed transaction survives `kill -9` and power loss. Writers
use BEGIN IMMEDIATE, so a transaction never fails half-way for a lock. The first I/O error ends
the process with exit 70: after a failed fsync nothing may be believed. So does finding that the
file was moved away or replaced under us: SQLite would go on writing where nobody looks any more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleet.core.errors import FleetError, StorageError
from fleet.store.space import release_if_short
from fleet.store.sqlite import connect, explained, inode

MEMORY = Path(":memory:")
WHOLE_CHECK_BYTES = 16_000_000  # up to here indexes are compared with their tables as well
Value = str | int | float | bytes | None
Row = tuple[Value, ...]
Migration = Callable[["Database"], None]


class Database:
    """A connection of one process. Never shared over a fork, never used by two threads."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        with explained(path):
            if not read_only and path != MEMORY:
                _make_private(path)
            self._connection = connect(path, read_only=read_only)
            self._cursor = self._connection.cursor()
        self._path = path
        self._inode = 0 if path == MEMORY else inode(path)

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with explained(self._path):
            return list(self._cursor.execute(sql, values))

    def one(self, sql: str, values: Sequence[Value] = ()) -> Row | None:
        found = self.rows(sql, values)
        return found[0] if found else None

    def write(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run one statement inside a transaction; how many rows it changed."""
        with explained(self._path):
            self._cursor.execute(sql, values)
            return self._connection.changes()

    def write_many(self, sql: str, values: Sequence[Row]) -> None:
        """Run one statement for each row, inside a transaction."""
        with explained(self._path):
            self._cursor.executemany(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it durably, or none of it."""
        self._check_place()
        if self._inode:
            release_if_short(self._path.parent)
        with explained(self._path):
            self._cursor.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._cursor.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read within is of one moment; nobody waits for it, and nothing is written."""
        self.rows("BEGIN")
        try:
            yield
        finally:
            self.rows("ROLLBACK")

    def version(self) -> int:
        """Grows whenever another connection has committed: cheap to poll."""
        self._check_place()
        return int(self._pragma("data_version"))

    def check_schema(self, migrations: Sequence[Migration]) -> bool:
        """Whether the schema is up to date; refuses a newer one."""
        found, known = self.schema, len(migrations)
        if found > known:
            raise FleetError(
                f"{self._path} was written by a newer fleet (schema {found}, this one knows "
                f"{known}): upgrade fleet"
            )
        return found == known

    @property
    def schema(self) -> int:
        """How many migrations it has seen; 0 is a file that holds nothing yet."""
        return int(self._pragma("user_version"))

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Bring the schema up to date, one transaction a step."""
        if self.check_schema(migrations):
            return
        for number in range(len(migrations)):
            with self.transaction():
                if self.schema == number:
                    migrations[number](self)
                    self._cursor.execute(f"PRAGMA user_version={number + 1}")

    def copy_to(self, path: Path) -> None:
        """A whole and consistent copy, durable when this returns; replaces what is there."""
        making = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        making.unlink(missing_ok=True)
        try:
            self.rows("VACUUM INTO ?", (str(making),))
            with making.open("rb+") as file:
                os.fsync(file.fileno())
            making.replace(path)
        finally:
            making.unlink(missing_ok=True)

    def find_damage(self) -> str:
        """What is wrong with the file, every page of it; "" when all is well."""
        small = self._path.stat().st_size < WHOLE_CHECK_BYTES
        check = "integrity_check" if small else "quick_check"
        found = [str(row[0]) for row in self.rows(f"PRAGMA {check}(3)")]
        return "" if found == ["ok"] else "; ".join(found)

    def _roll_back(self) -> None:
        # A disk that is full or fails has rolled it back already, and must not hide why.
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def _check_place(self) -> None:
        if self._inode and inode(self._path) != self._inode:
            raise StorageError(
                f"{self._path} was removed or replaced while it was in use: stopped before "
                "anything else was done. `fleet run` goes on with what is there now"
            )

    def _pragma(self, name: str) -> str:
        with explained(self._path):
            return str(next(iter(self._cursor.execute(f"PRAGMA {name}")))[0])


def _make_private(path: Path) -> None:
    """Nobody else may read it, nor its log: SQLite gives that the same mode. Only where there is
    none: to close a file of SQLite's would free the locks that other threads have on it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):  # whatever it is, SQLite will meet it too
        os.close(os.open(path, flags, 0o600))
