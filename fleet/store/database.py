"""One SQLite file and the rules for opening it.

apsw brings a current SQLite: those before 3.51.3 can corrupt a WAL that two connections write.
WAL with synchronous=FULL: a committed transaction survives `kill -9` and power loss. Writers
use BEGIN IMMEDIATE, so a transaction never fails half-way for a lock. The first I/O error ends
the process with exit 70: after a failed fsync nothing may be believed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from fleet.core.errors import FleetError, StorageError

MEMORY = Path(":memory:")
BUSY_TIMEOUT_S = 600.0  # a writer may be stopped for minutes, and is still no dead disk
Value = str | int | float | bytes | None
Row = tuple[Value, ...]
Migration = Callable[["Database"], None]


class Database:
    """A connection of one process. Never shared over a fork, never used by two threads."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        flags = (
            apsw.SQLITE_OPEN_READONLY
            if read_only
            else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        )
        with _io_errors(path):
            if not read_only and path != MEMORY:
                _make_private(path)
            self._connection = apsw.Connection(str(path), flags=flags)
            self._connection.set_busy_timeout(int(BUSY_TIMEOUT_S * 1000))
            self._cursor = self._connection.cursor()
            if read_only:
                self._cursor.execute("PRAGMA query_only=1")
            else:
                # Two first openers may race for the switch to WAL: it is not retried by the
                # busy handler, so ask only when it is needed.
                if self._pragma("journal_mode") != "wal":
                    self._cursor.execute("PRAGMA journal_mode=WAL")
                self._cursor.execute("PRAGMA synchronous=FULL")
            self._cursor.execute("PRAGMA trusted_schema=OFF")
        self._path = path

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        with _io_errors(self._path):
            return list(self._cursor.execute(sql, values))

    def one(self, sql: str, values: Sequence[Value] = ()) -> Row | None:
        found = self.rows(sql, values)
        return found[0] if found else None

    def write(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run one statement inside a transaction; how many rows it changed."""
        with _io_errors(self._path):
            self._cursor.execute(sql, values)
            return self._connection.changes()

    def write_many(self, sql: str, values: Sequence[Row]) -> None:
        """Run one statement for each row, inside a transaction."""
        with _io_errors(self._path):
            self._cursor.executemany(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it durably, or none of it."""
        with _io_errors(self._path):
            self._cursor.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._cursor.execute("ROLLBACK")
                raise
            self._cursor.execute("COMMIT")

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
        return int(self._pragma("data_version"))

    def check_schema(self, migrations: Sequence[Migration]) -> bool:
        """Whether the schema is up to date; refuses a newer one."""
        found, known = int(self._pragma("user_version")), len(migrations)
        if found > known:
            raise FleetError(
                f"{self._path} was written by a newer fleet (schema {found}, this one knows "
                f"{known}): upgrade fleet"
            )
        return found == known

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Bring the schema up to date, one transaction a step."""
        if self.check_schema(migrations):
            return
        for number in range(len(migrations)):
            with self.transaction():
                if int(self._pragma("user_version")) == number:
                    migrations[number](self)
                    self._cursor.execute(f"PRAGMA user_version={number + 1}")

    def _pragma(self, name: str) -> str:
        return str(next(iter(self._cursor.execute(f"PRAGMA {name}")))[0])


def _make_private(path: Path) -> None:
    """Nobody else may read it, nor its log: SQLite gives that the same mode. Only where there is
    none: to close a file of SQLite's would free the locks that other threads have on it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):  # whatever it is, SQLite will meet it too
        os.close(os.open(path, flags, 0o600))


@contextmanager
def _io_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.IOError, apsw.FullError, apsw.CorruptError, apsw.NotADBError) as error:
        raise StorageError(
            f"{path}: {error}: stopped before anything else was done. Check the disk "
            "(space, health), then run `fleet doctor`"
        ) from error
    except apsw.CantOpenError as error:
        raise StorageError(f"{path} cannot be opened: {error}") from error
    except apsw.BusyError as error:
        raise StorageError(
            f"{path} has been locked by another process for {BUSY_TIMEOUT_S:.0f} s: "
            "end that process and try again"
        ) from error
