"""Values for tests, with defaults for what a test does not care about."""

from __future__ import annotations

import random
from pathlib import Path

from fleet.core.attempt import Owner
from fleet.core.policy import Backoff
from fleet.core.task import Task
from fleet.store.database import Database
from fleet.store.ledger import Ledger
from fleet.store.schema import MIGRATIONS

RNG = random.Random(7)
NOW = 1_000_000.0


def a_task(id_: str = "one", **fields: object) -> Task:
    return Task(**{"id": id_, "prompt": f"do {id_}", **fields})  # type: ignore[arg-type]


def an_owner(worker: str = "agent-1", pid: int = 1) -> Owner:
    return Owner(host="here", boot_id="boot", pid=pid, started=1, worker=worker)


def a_database(folder: Path) -> Database:
    db = Database(folder / "state.db")
    db.migrate(MIGRATIONS)
    return db


def a_ledger(db: Database) -> Ledger:
    return Ledger(db, Backoff(first_s=1.0, cap_s=10.0))
