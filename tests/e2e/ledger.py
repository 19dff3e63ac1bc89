"""What the ledger of a repository under test says, read beside its fleet: no command to start."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from fleet.store.database import Database, Row
from tests.e2e.conftest import Repository


def rows(repository: Repository, sql: str) -> list[Row]:
    """Nothing while there is no ledger yet."""
    path = _path(repository)
    if not path.exists():
        return []
    with contextlib.closing(Database(path, read_only=True)) as db:
        if not db.rows("SELECT 1 FROM sqlite_master WHERE name = 'controls'"):
            return []
        return db.rows(sql)


def states(repository: Repository) -> dict[str, str]:
    return {str(id_): str(state) for id_, state in rows(repository, "SELECT id, state FROM tasks")}


def is_in(repository: Repository, task: str, *wanted: str) -> Callable[[], bool]:
    return lambda: states(repository).get(task) in wanted


def told(repository: Repository) -> list[str]:
    """The kinds of all events, in order."""
    return [str(kind) for (kind,) in rows(repository, "SELECT kind FROM events ORDER BY seq")]


def outcomes(repository: Repository, task: str) -> list[str]:
    listed = rows(repository, "SELECT task, outcome FROM attempts ORDER BY epoch")
    return [str(outcome) for of, outcome in listed if of == task]


@contextlib.contextmanager
def stopped(repository: Repository, pid: int) -> Iterator[None]:
    """A process that is stopped, but not in the middle of a write: for that all others wait."""
    pause = threading.Event()
    os.kill(pid, signal.SIGSTOP)
    try:
        while not _is_writable(repository):
            os.kill(pid, signal.SIGCONT)
            pause.wait(0.05)
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _is_writable(repository: Repository) -> bool:
    with contextlib.closing(apsw.Connection(str(_path(repository)))) as db:
        db.set_busy_timeout(500)
        try:
            db.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            return False
        db.execute("ROLLBACK")
        return True


def _path(repository: Repository) -> Path:
    return repository.path / ".git" / "fleet" / "state.db"
