"""Claim and finish, many processes at once: tasks a second, beside a bare prototype of the same.

    .venv/bin/python scripts/bench/claims.py [--processes 32] [--tasks 5000] [--sizes 100,10000]

The baseline, in the same run and folder, is the least that keeps the promise: flock and two
durable SQLite commits a task, nothing else. Prints ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import multiprocessing
import os
import random
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import apsw

from fleet.core.attempt import Outcome
from fleet.core.policy import Backoff
from fleet.core.task import Task
from fleet.process.identity import myself
from fleet.store.claims import try_hold
from fleet.store.database import Database
from fleet.store.ledger import Ledger
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS

SPAWN = multiprocessing.get_context("spawn")


def fleet_worker(folder: Path, number: int, start: Barrier) -> None:
    db = Database(folder / "state.db")
    ledger = Ledger(db, Backoff(first_s=0.0, cap_s=0.0))
    owner, rng = myself(f"agent-{number}"), random.Random(number)
    start.wait()
    while found := ledger.claim(
        owner, lambda id_: try_hold(folder / "claims" / f"{id_}.lock"), now=time.time()
    ):
        claim, lock = found
        with lock:
            ledger.ended(claim.task.id, claim.epoch, Outcome.REFUSED, "", now=time.time(), rng=rng)


def bare_worker(folder: Path, _number: int, start: Barrier) -> None:
    con = apsw.Connection(str(folder / "bare.db"))
    con.set_busy_timeout(30_000)
    con.execute("PRAGMA synchronous=FULL")
    start.wait()
    while True:
        rows = list(con.execute("SELECT id FROM t WHERE state = 0 LIMIT 64"))
        if not rows:
            return
        for (id_,) in rows:
            fd = os.open(folder / "claims" / f"{id_}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            con.execute("UPDATE t SET state = 1 WHERE id = ? AND state = 0", (id_,))
            if con.changes():
                con.execute("UPDATE t SET state = 2 WHERE id = ?", (id_,))
                os.close(fd)
                break
            os.close(fd)


def prepare_fleet(folder: Path, tasks: int) -> None:
    db = Database(folder / "state.db")
    db.migrate(MIGRATIONS)
    Roster(db).sync(
        [Task(id=f"t{n}", prompt="x", max_attempts=1) for n in range(tasks)], now=time.time()
    )
    db.close()


def prepare_bare(folder: Path, tasks: int) -> None:
    con = apsw.Connection(str(folder / "bare.db"))
    con.execute("PRAGMA journal_mode=WAL")
    con.execute("CREATE TABLE t(id TEXT PRIMARY KEY, state INTEGER)")
    con.execute("CREATE INDEX s ON t(state)")
    with con:
        con.executemany("INSERT INTO t VALUES(?, 0)", [(f"t{n}",) for n in range(tasks)])
    con.close()


def measure(kind: str, tasks: int, processes: int) -> float:
    """Tasks a second."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        (folder / "claims").mkdir()
        prepare, target = (
            (prepare_fleet, fleet_worker) if kind == "fleet" else (prepare_bare, bare_worker)
        )
        prepare(folder, tasks)
        start = SPAWN.Barrier(processes + 1)
        children = [SPAWN.Process(target=target, args=(folder, n, start)) for n in range(processes)]
        for child in children:
            child.start()
        start.wait()
        began = time.monotonic()
        for child in children:
            child.join()
        return tasks / (time.monotonic() - began if kind == "bare" else _busy_s(folder))


def _busy_s(folder: Path) -> float:
    """From the first claim to the last end, without the processes' own start and exit."""
    db = Database(folder / "state.db", read_only=True)
    row = db.one("SELECT max(at) - min(at) FROM events WHERE kind IN ('claimed', 'ended')")
    db.close()
    assert row is not None
    assert isinstance(row[0], float)
    return row[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=32)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--sizes", default="100,1000,10000")
    options = parser.parse_args()
    bare = measure("bare", options.tasks, options.processes)
    ours = measure("fleet", options.tasks, options.processes)
    print(f"{options.processes} processes, {options.tasks} tasks")
    print(f"  bare flock + 2 durable commits  {bare:8.0f} tasks/s  1.00")
    print(f"  fleet claim + finish            {ours:8.0f} tasks/s  {ours / bare:.2f}")
    print("flatness, same processes:")
    for size in (int(text) for text in options.sizes.split(",")):
        print(f"  {size:6d} tasks  {measure('fleet', size, options.processes):8.0f} tasks/s")


if __name__ == "__main__":
    main()
