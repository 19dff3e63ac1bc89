"""One SQLite file and the rules for opening it.

apsw brings a current SQLite: those before 3.51.3 can corrupt a WAL that two connections write.
WAL with synchronous=FULL: a committed transaction survives `kill -9` and power loss. Writers
use BEGIN IMMEDIATE, so a transaction never fails half-way for a lock. The first I/O error ends
the process with exit 70: after a failed fsync nothing may be believed.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from fleet.core.errors import FleetError, StorageError

MEMORY = Path(":memory:")
BUSY_TIMEOUT_S = 30.0
BUSY_WAIT_S = 0.005
_TURN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
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
            self._connection = apsw.Connection(str(path), flags=flags)
            self._connection.set_busy_handler(_wait_for_the_other)
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
        # Writers queue here: the kernel wakes the next one at once and in turn, where SQLite's
        # busy handler can only sleep and ask again (32 writers: 220 against 450 claims a second).
        self._turn = -1 if read_only else os.open(_turn_file(path), _TURN_FLAGS, 0o600)

    def close(self) -> None:
        self._connection.close()
        if self._turn >= 0:
            os.close(self._turn)

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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it durably, or none of it."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            with _io_errors(self._path):
                self._cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    self._cursor.execute("ROLLBACK")
                    raise
                self._cursor.execute("COMMIT")
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def version(self) -> int:
        """Grows whenever another connection has committed: cheap to poll."""
        return int(self._pragma("data_version"))

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Bring the schema up to date, one transaction a step; refuse a newer one."""
        known = len(migrations)
        found = int(self._pragma("user_version"))
        if found > known:
            raise FleetError(
                f"{self._path} was written by a newer fleet (schema {found}, this one knows "
                f"{known}): upgrade fleet"
            )
        for number in range(found, known):
            with self.transaction():
                if int(self._pragma("user_version")) == number:
                    migrations[number](self)
                    self._cursor.execute(f"PRAGMA user_version={number + 1}")

    def _pragma(self, name: str) -> str:
        return str(next(iter(self._cursor.execute(f"PRAGMA {name}")))[0])


def _turn_file(path: Path) -> Path:
    return Path(os.devnull) if path == MEMORY else path.with_suffix(".turn")


def _wait_for_the_other(tries: int) -> bool:
    """Called while a connection outside the queue writes or checkpoints."""
    select.select((), (), (), BUSY_WAIT_S)
    return tries < BUSY_TIMEOUT_S / BUSY_WAIT_S


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
