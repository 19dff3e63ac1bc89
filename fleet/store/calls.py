"""`calls.db`: a row for every call to an upstream and for every request of an agent.

Written by the proxy alone, by one thread, so its event loop never waits for a disk. Rows are
committed in groups, 20 ms after the first of a group: a proxy that is killed loses no more than
that, and never a part of a group. The first error of the disk ends all writing and is told in
`fault`: from then on nothing more may be served.

Money that is set aside for a call is written before the call is sent, and at once. What is found
set aside when nobody is at work was set aside by a proxy that was killed: it counts as spent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import chain
from operator import attrgetter
from pathlib import Path

from fleet.core.errors import FleetError, StorageError
from fleet.core.traffic import Call, Ended, Reservation, Served, Void
from fleet.store.database import Database, Migration, Row

GROUP_S = 0.03
GROUP_ROWS = 1000

USAGE = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "estimated",
)


def _first(db: Database) -> None:
    usage = ", ".join(f"{name} INTEGER NOT NULL" for name in USAGE)
    # No index: all that is ever asked are sums over everything or over the newest part, and an
    # index would double what a row costs.
    db.write(
        f"""CREATE TABLE calls(
            id INTEGER PRIMARY KEY, at REAL NOT NULL, task TEXT NOT NULL, epoch INTEGER NOT NULL,
            agent TEXT NOT NULL, upstream TEXT NOT NULL, model TEXT NOT NULL,
            answered_model TEXT NOT NULL, endpoint TEXT NOT NULL, status INTEGER NOT NULL,
            ended TEXT NOT NULL, fault TEXT NOT NULL, {usage}, cost INTEGER NOT NULL,
            priced INTEGER NOT NULL, first_byte_s REAL NOT NULL, total_s REAL NOT NULL,
            bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL
        ) STRICT"""
    )
    db.write(
        f"""CREATE TABLE served(
            id INTEGER PRIMARY KEY, at REAL NOT NULL, task TEXT NOT NULL, epoch INTEGER NOT NULL,
            agent TEXT NOT NULL, session TEXT NOT NULL, endpoint TEXT NOT NULL,
            model TEXT NOT NULL, dedup TEXT NOT NULL, call INTEGER NOT NULL,
            status INTEGER NOT NULL, gone INTEGER NOT NULL, bytes INTEGER NOT NULL, {usage},
            saved_cost INTEGER NOT NULL, wait_s REAL NOT NULL, total_s REAL NOT NULL,
            priced INTEGER NOT NULL
        ) STRICT"""
    )


def _reservations(db: Database) -> None:
    db.write(
        """CREATE TABLE reservations(
            id INTEGER PRIMARY KEY, at REAL NOT NULL, task TEXT NOT NULL, epoch INTEGER NOT NULL,
            agent TEXT NOT NULL, upstream TEXT NOT NULL, model TEXT NOT NULL,
            endpoint TEXT NOT NULL, amount INTEGER NOT NULL
        ) STRICT"""
    )


MIGRATIONS: tuple[Migration, ...] = (_first, _reservations)
_CALL = "INSERT INTO calls VALUES", f"({', '.join('?' * 25)})"
_SERVED = "INSERT INTO served VALUES", f"(NULL, {', '.join('?' * 23)})"
_RESERVED = "INSERT INTO reservations VALUES", f"({', '.join('?' * 9)})"
_LOST = f"""INSERT INTO calls SELECT id, at, task, epoch, agent, upstream, model, '', endpoint, 0,
    '{Ended.LOST}', 'killed', {", ".join("0" for _ in USAGE)}, amount, 1, 0, 0, 0, 0
    FROM reservations"""  # noqa: S608 - constants of ours
# Rows in a statement: each statement hands Python's lock to the event loop and back.
AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
_used = attrgetter(*USAGE)  # in the order of the columns


def _call_values(call: Call) -> Row:
    return (*call[:12], *_used(call.usage), *call[13:])


def _served_values(served: Served) -> Row:
    return (*served[:12], *_used(served.saved), *served[13:])


class CallsWriter:
    """`add` may be called from one thread; everything else happens in another."""

    def __init__(self, path: Path) -> None:
        db = Database(path)
        try:
            db.migrate(MIGRATIONS)
            self.lost = _charge_lost(db)
            self.next_id = _next_id(db)
        finally:
            db.close()
        self.fault = ""
        self._path = path
        self._rows: deque[_Entry] = deque()
        self._open: set[int] = set()  # reservations on the disk; the thread's own
        self._woken = self._closing = False
        self._wake, self._full = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="calls.db", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Rows that no disk has yet."""
        return len(self._rows)

    def add(self, row: Call | Served) -> None:
        rows = self._rows
        rows.append(row)
        if not self._woken:
            self._woken = True
            self._wake.set()
        elif len(rows) == GROUP_ROWS:
            self._full.set()

    def set_aside(self, row: Reservation, on_disk: Callable[[], None]) -> None:
        """`on_disk` is called by the writing thread, once it is."""
        self._rows.append((row, on_disk))
        self._hurry()

    def void(self, number: int) -> None:
        self._rows.append(Void(number))

    def flush(self) -> None:
        """Wait until the disk has all rows, or has failed."""
        done = threading.Event()
        self._rows.append(done)
        self._hurry()
        while self._thread.is_alive() and not done.wait(0.05):
            pass

    def close(self) -> None:
        """Write what there is, and end."""
        self._closing = True
        self._hurry()
        self._thread.join()

    def _hurry(self) -> None:
        self._full.set()
        self._wake.set()

    # -- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        db: Database | None = None
        try:
            db = Database(self._path)
            inode = self._path.stat().st_ino
            while self._await_rows():
                self._commit(db)
                self._check_place(inode)
        except FleetError as error:
            self.fault = str(error)
        except Exception as error:
            self.fault = f"{self._path}: {error!r}: model traffic can no longer be accounted for"
        finally:
            if db is not None:
                db.close()

    def _check_place(self, inode: int) -> None:
        """SQLite would go on writing to a file that nobody finds any more."""
        try:
            is_there = self._path.stat().st_ino == inode
        except OSError:
            is_there = False
        if not is_there:
            raise StorageError(
                f"{self._path} was removed or replaced while it was written to: model traffic can "
                "no longer be accounted for"
            )

    def _await_rows(self) -> bool:
        """A group is there; False when all is written and no more will come."""
        if self._closing and not self._rows:
            return False
        self._wake.wait()
        if not self._closing:
            self._full.wait(GROUP_S)
        self._full.clear()
        self._wake.clear()
        self._woken = False  # before rows are taken: who adds one now wakes us again
        return True

    def _commit(self, db: Database) -> None:
        group, rows = _Group(), self._rows
        for _ in range(len(rows)):
            group.take(rows.popleft(), self._open)
        if group.calls or group.served or group.reserved or group.over:
            with db.transaction():
                _insert(db, *_RESERVED, group.reserved)
                _insert(db, *_CALL, group.calls)
                _insert(db, *_SERVED, group.served)
                if group.over:
                    db.write_many("DELETE FROM reservations WHERE id = ?", group.over)
        for done in group.told:
            done()


_Entry = Call | Served | Void | tuple[Reservation, Callable[[], None]] | threading.Event


class _Group:
    """What goes to the disk at once."""

    __slots__ = ("calls", "over", "reserved", "served", "told")

    def __init__(self) -> None:
        self.calls: list[Row] = []
        self.served: list[Row] = []
        self.reserved: list[Row] = []
        self.over: list[Row] = []  # ids of reservations that are none any more
        self.told: list[Callable[[], None]] = []

    def take(self, entry: _Entry, is_open: set[int]) -> None:
        if isinstance(entry, Call):
            self.calls.append(_call_values(entry))
            self._end(entry.id, is_open)
        elif isinstance(entry, Served):
            self.served.append(_served_values(entry))
        elif isinstance(entry, Void):
            self._end(entry.id, is_open)
        elif isinstance(entry, threading.Event):
            self.told.append(entry.set)
        else:
            reservation, on_disk = entry
            self.reserved.append(tuple(reservation))
            self.told.append(on_disk)
            is_open.add(reservation.id)

    def _end(self, number: int, is_open: set[int]) -> None:
        if number in is_open:
            is_open.remove(number)
            self.over.append((number,))


def _charge_lost(db: Database) -> int:
    """What a killed proxy had set aside is spent, until somebody knows better. How many calls."""
    row = db.one("SELECT count(*) FROM reservations")
    found = row[0] if row else 0
    assert isinstance(found, int)
    if found:
        with db.transaction():
            db.write(_LOST)
            db.write("DELETE FROM reservations")
    return found


def _insert(db: Database, into: str, row: str, rows: list[Row]) -> None:
    """Many rows in few statements, of a few sizes, so that each is prepared once."""
    start = 0
    for size in AT_ONCE:
        statement = f"{into} {', '.join([row] * size)}"
        while len(rows) - start >= size:
            db.write(statement, list(chain.from_iterable(rows[start : start + size])))
            start += size


def _next_id(db: Database) -> int:
    """After every id that anything was told of: a killed proxy may have lost its newest calls,
    not the requests they served."""
    found = db.one(
        "SELECT max(coalesce((SELECT max(id) FROM calls), 0), "
        "coalesce((SELECT max(call) FROM served), 0))"
    )
    assert found is not None
    last = found[0]
    assert isinstance(last, int)
    return last + 1
