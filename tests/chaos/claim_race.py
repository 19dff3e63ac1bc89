"""Claimers by the dozen on one ledger, killed and paused all the time; then the history is checked.

    python -m tests.chaos.claim_race [--claimers 50] [--tasks 1000] [--seed 1]

Every claimer is a process that runs the worker's own claiming. A claimer writes to an append-only
log (one write a line) when it starts and when it has ended work on a task; the harness writes when
it has killed one. Afterwards:

    double   tasks handed in by two attempts
    overlap  tasks two live claimers worked on at the same time
    lost     tasks that nobody handed in
    disorder tasks whose questions and answers no ledger can have had that does one thing at a time
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.core.errors import StaleError
from fleet.core.policy import Backoff, Candidate
from fleet.core.task import Task
from fleet.process.identity import myself
from fleet.store.database import Database
from fleet.store.layout import Layout
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from fleet.worker.claiming import Claimer
from tests.chaos.history import disordered
from tests.chaos.recorded import RecordedLedger, read

WORK_S = 0.05  # at most
FAULT_EVERY_S = 0.01
PAUSE_S = 0.5
FAULTS_FOR_S = 120.0
GIVE_UP_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    claimers: int
    tasks: int
    seconds: float
    kills: int
    pauses: int
    attempts: int
    operations: int
    double: int
    overlap: int
    lost: int
    disorder: int


def claim_race(folder: Path, *, claimers: int, tasks: int, seed: int) -> Verdict:
    layout = Layout(common_dir=folder, top=folder, cache=folder / "cache")
    layout.prepare()
    db = Database(layout.database)
    db.migrate(MIGRATIONS)
    named = [Task(id=f"t{n}", prompt="x", max_attempts=100) for n in range(tasks)]
    Roster(db).sync(named, now=time.time())
    db.close()  # no connection may cross a fork
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    began = time.monotonic()
    kills, pauses = _chaos(layout, log, claimers, random.Random(seed))
    return _check(layout, claimers, tasks, time.monotonic() - began, kills, pauses)


def _chaos(layout: Layout, log: int, claimers: int, rng: random.Random) -> tuple[int, int]:
    """Keep the claimers alive and torment them until nothing is left to claim."""
    began = time.monotonic()
    kills = pauses = 0
    alive = {_spawn(layout, log) for _ in range(claimers)}
    paused: dict[int, float] = {}
    try:
        while alive:
            now = time.monotonic()
            assert now - began < GIVE_UP_S, "the race never ended"
            _reap(alive, paused, layout, log)
            for pid in [pid for pid, until in paused.items() if until < now]:
                os.kill(pid, signal.SIGCONT)
                del paused[pid]
            victims = sorted(alive - set(paused))
            # The last ones are let go: a newcomer needs longer to start than to the next fault.
            if len(victims) > claimers // 2 and now - began < FAULTS_FOR_S:
                pid = rng.choice(victims)
                if rng.random() < 0.4:
                    os.kill(pid, signal.SIGSTOP)
                    paused[pid] = now + PAUSE_S
                    pauses += 1
                else:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            time.sleep(FAULT_EVERY_S)
    finally:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
    return kills, pauses


def _reap(alive: set[int], paused: dict[int, float], layout: Layout, log: int) -> None:
    while alive:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        alive.discard(pid)
        paused.pop(pid, None)
        if os.WIFSIGNALED(status):
            _write(log, "K", pid)
            alive.add(_spawn(layout, log))
        elif os.WEXITSTATUS(status) != 0:
            raise AssertionError(f"a claimer ended with {os.WEXITSTATUS(status)}")


def _spawn(layout: Layout, log: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _claimer(layout, log)
        code = 0
    except BaseException as error:  # the parent sees only the exit code
        sys.stderr.write(f"claimer: {type(error).__name__}: {error}\n")
    finally:
        os._exit(code)


def _claimer(layout: Layout, log: int) -> None:
    db = Database(layout.database)
    ledger = RecordedLedger(
        db, Backoff(first_s=0.0, cap_s=0.0), lambda line: _put(log, f"H {line}")
    )
    rng = random.Random(os.getpid())

    def no_agent_to_end(_: Candidate) -> None:
        return None

    claimer = Claimer(
        layout=layout, ledger=ledger, owner=myself("claimer"), clean_up=no_agent_to_end, rng=rng
    )
    while True:
        taken = claimer.next()
        if taken is None:
            if not ledger.held() and not ledger.may_become_ready():
                return
            time.sleep(0.01)
            continue
        claim = taken.claim
        with taken.lock:
            _write(log, "S", claim.task.id, claim.epoch)
            ledger.running(claim, agent="none", base="b", now=time.time())
            time.sleep(rng.random() * WORK_S)
            try:
                ledger.submitted(claim, base="b", merge="m", now=time.time())
                _write(log, "E", claim.task.id, claim.epoch)
            except StaleError:
                _write(log, "R", claim.task.id, claim.epoch)


def _write(log: int, what: str, *words: object) -> None:
    _put(log, " ".join(map(str, (what, os.getpid(), time.monotonic(), *words))))


def _put(log: int, line: str) -> None:
    os.write(log, (line + "\n").encode())


def _check(
    layout: Layout, claimers: int, tasks: int, seconds: float, kills: int, pauses: int
) -> Verdict:
    starts: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    ends: dict[tuple[str, int, int], float] = {}
    killed: dict[int, float] = {}
    accepted: Counter[str] = Counter()
    told = []
    for line in (layout.common_dir / "log").read_text().splitlines():
        what, pid, at, *rest = line.split()
        if what == "H":
            told.append(line.removeprefix("H "))
            continue
        if what == "K":
            killed[int(rest[0])] = float(at)
            continue
        task, epoch = rest[0], int(rest[1])
        if what == "S":
            starts[task].append((float(at), int(pid), epoch))
        else:
            ends[task, epoch, int(pid)] = float(at)
            accepted[task] += what == "E"
    db = Database(layout.database, read_only=True)
    done = db.one("SELECT count(*) FROM tasks WHERE state = 'submitted'")
    twice = db.one(
        "SELECT count(*) FROM (SELECT task FROM events WHERE kind = 'submitted' "
        "GROUP BY task HAVING count(*) > 1)"
    )
    history = read(told, db)
    db.close()
    assert done is not None
    assert twice is not None
    assert isinstance(done[0], int)
    assert isinstance(twice[0], int)
    return Verdict(
        claimers=claimers,
        tasks=tasks,
        seconds=round(seconds, 1),
        kills=kills,
        pauses=pauses,
        attempts=sum(map(len, starts.values())),
        operations=len(history),
        double=sum(number > 1 for number in accepted.values()) + twice[0],
        overlap=sum(_overlaps(task, begun, ends, killed) for task, begun in starts.items()),
        lost=tasks - done[0],
        disorder=len(disordered(history)),
    )


def _overlaps(
    task: str,
    begun: list[tuple[float, int, int]],
    ends: dict[tuple[str, int, int], float],
    killed: dict[int, float],
) -> int:
    """Interval sweep. A killed claimer's interval ends when its death is certain: at its start,
    if nothing later is known, which errs on the side of missing an overlap of the dead."""
    found, latest = 0, float("-inf")
    for start, pid, epoch in sorted(begun):
        end = ends.get((task, epoch, pid))
        found += start < latest
        latest = max(latest, start if end is None else end)
        if end is None and pid not in killed:
            raise AssertionError(f"{task}.{epoch} neither ended nor was it killed")
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--claimers", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-race-", dir=Path.cwd()) as folder:
        Path(folder).chmod(0o700)
        verdict = claim_race(
            Path(folder), claimers=options.claimers, tasks=options.tasks, seed=options.seed
        )
    sys.stdout.write(json.dumps(asdict(verdict)) + "\n")
    wrong = verdict.double or verdict.overlap or verdict.lost or verdict.disorder
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
