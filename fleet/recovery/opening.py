"""Opening the ledger: found whole, or brought back from git. Never silently begun empty.

A database that is missing, empty or damaged is made anew, and learns from git what has landed and
which attempts there were (`store/rebuild.py`); a damaged one is kept beside it. Checksums find
damage whenever a page is read; the start of a run reads all of them.

DESIGN. One process mends, under `mending.lock`, and only when nobody else has the database open
(`state.lock`): a lander that still went by the old file could land what the new one is just about
to read. The damaged file is moved away first. Whoever has it open notices at its next transaction
or look, and ends; agents are ended with their workers, and their work stays in its folders, to be
kept by whoever claims the task next. An epoch that any ref or folder names is not used again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet.core.errors import DamagedError, StorageError
from fleet.recovery.hub import mend_hub
from fleet.recovery.traces import Traces, read_traces
from fleet.repo.branch import Target
from fleet.repo.hub import Hub
from fleet.store.claims import hold
from fleet.store.database import Database
from fleet.store.layout import Layout
from fleet.store.presence import Presence
from fleet.store.rebuild import reconciled, take_over
from fleet.store.schema import MIGRATIONS

TRIES = 3
SHARE_S = MENDING_S = 120.0  # somebody else is mending
ALONE_S = 60.0  # for those who have the old file open to notice and end their agents
SUFFIXES = ("-wal", "-shm", "")  # in the order they are moved: see _move_aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    db: Database
    presence: Presence
    told: str = ""  # what a person should know of it

    def close(self) -> None:
        self.db.close()
        self.presence.leave()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the ledger is, and who knows better should it be wrong."""

    layout: Layout
    find_target: Callable[[], Target]  # the branch, asked for only when it has to be read
    hub: Hub

    def bring_up_to_date(self, db: Database, *, why: str) -> str:
        """What was taken over from git, for a person; "" when nothing was."""
        target = self.find_target()
        if self.hub.path.is_dir():
            mend_hub(self.hub, db, target.git)
        truth = read_traces(self.layout, target, self.hub, since=reconciled(db))
        witness = Traces(layout=self.layout, hub=self.hub)
        taken = take_over(db, truth, witness, why=why, now=time.time())
        if why:
            return f"{why}: the ledger was rebuilt from git: {taken}"
        return f"the ledger did not know of {taken}: taken over from git" if taken else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """A ledger that cannot be used as it is."""

    why: str  # "" when nothing is lost: a first start, an older schema
    damage: DamagedError | None = None


def open_ledger(place: Place, *, mends: bool, thorough: bool) -> Opened:
    """With `mends` it is made, brought up to date or rebuilt if need be, else that is an error;
    `thorough` reads every page first, and compares with git."""
    presence = Presence(place.layout.database_lock)
    try:
        return _open(place, presence, mends=mends, thorough=thorough)
    except BaseException:
        presence.leave()
        raise


def _open(place: Place, presence: Presence, *, mends: bool, thorough: bool) -> Opened:
    path, told = place.layout.database, []
    for _ in range(TRIES):
        if not presence.share(timeout_s=SHARE_S):
            raise StorageError(_busy(place.layout, "is being rebuilt by another process"))
        found = _look(place.layout, thorough=thorough)
        if isinstance(found, Database):
            if thorough and mends:
                told.append(place.bring_up_to_date(found, why=""))
            return Opened(db=found, presence=presence, told="; ".join(filter(None, told)))
        if not mends:
            raise found.damage or StorageError(f"{path} is not there: `fleet run` makes it")
        presence.withdraw()
        told.append(_mend(place, presence, thorough=thorough))
    raise StorageError(f"{path} is damaged again and again: check the disk")


def _look(layout: Layout, *, thorough: bool) -> Database | Unfit:
    """The database, open, if it can be used as it is."""
    path = layout.database
    if not path.exists():
        return Unfit(why="state.db was missing" if _has_past(layout) else "")
    db: Database | None = None
    try:
        db = Database(path)
        found = _judge(db, layout, thorough=thorough)
    except DamagedError as error:
        found = Unfit(why=f"state.db was damaged ({error.__cause__})", damage=error)
    except BaseException:
        if db is not None:
            db.close()
        raise
    if found is None:
        assert db is not None
        return db
    if db is not None:
        db.close()
    return found


def _judge(db: Database, layout: Layout, *, thorough: bool) -> Unfit | None:
    whole = db.check_schema(MIGRATIONS)
    if thorough:
        wrong = db.find_damage()
        if wrong:
            raise DamagedError(f"{layout.database} is damaged: {wrong}") from ValueError(wrong)
    if db.schema == 0:
        return Unfit(why="state.db was empty" if _has_past(layout) else "")
    return None if whole and reconciled(db) else Unfit(why="")


def _has_past(layout: Layout) -> bool:
    """Whether a fleet has been at work here."""
    return layout.hub.is_dir() or any(layout.attempts.iterdir())


def _mend(place: Place, presence: Presence, *, thorough: bool) -> str:
    """One process at a time, and nobody else has the file open. What to tell a person."""
    layout = place.layout
    lock = hold(layout.mending_lock, timeout_s=MENDING_S)
    if lock is None:
        raise StorageError(_busy(layout, "is being rebuilt by another process"))
    with lock:
        found = _look(layout, thorough=thorough)
        if isinstance(found, Database):  # somebody else was faster
            found.close()
            return ""
        why = found.why
        if found.damage is not None or not layout.database.exists():
            moved = _move_aside(layout)
            why += f"; it is kept as {moved}" if moved and why else ""
        with presence.alone(timeout_s=ALONE_S) as alone:
            if not alone:
                raise StorageError(
                    _busy(layout, "must be rebuilt, but is still in use by another process")
                )
            return _make(place, why=why)


def _make(place: Place, *, why: str) -> str:
    """Tables, and what git knows. Killed half-way, it is the next one's to go on."""
    layout = place.layout
    db = Database(layout.database)
    try:
        if 0 < db.schema < len(MIGRATIONS):
            before = layout.before_schema(len(MIGRATIONS))
            if not before.exists():
                db.copy_to(before)
        db.migrate(MIGRATIONS)
        return place.bring_up_to_date(db, why=why)
    finally:
        db.close()


def _move_aside(layout: Layout) -> str:
    """Where the damaged database was moved to; "" if there was none. Its WAL goes first: left
    alone with a new database, it would be played into that."""
    number = 1
    while any(os.path.lexists(layout.damaged(number, suffix)) for suffix in SUFFIXES):
        number += 1
    moved = [suffix for suffix in SUFFIXES if _move(layout, number, suffix)]
    folder = os.open(layout.state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return layout.damaged(number).name if "" in moved else ""


def _move(layout: Layout, number: int, suffix: str) -> bool:
    path = layout.database.with_name(layout.database.name + suffix)
    try:
        path.rename(layout.damaged(number, suffix))
    except FileNotFoundError:
        return False
    return True


def _busy(layout: Layout, why: str) -> str:
    return (
        f"{layout.database} {why}: wait for it, or end every process of this fleet, then try again"
    )


def kept_aside(layout: Layout) -> list[Path]:
    """Damaged databases that were moved away."""
    found = layout.state.glob(layout.damaged(0).name.replace("0", "*"))
    return sorted(path for path in found if not path.name.endswith(SUFFIXES[:2]))
