"""Coordinators that start at the same instant: one gets the repository, the others are told so.

    python -m tests.chaos.coordinator_race [--rounds 100] [--starts 50] [--commands 3] [--seed 1]

Each round lets many processes loose on the lock at once, by the coordinator's own `take_lock`, in
a process each with a connection of its own; `--commands` rounds more do it with `fleet run` itself.
Counted: rounds that did not have exactly one winner, losers that were told anything else than
who holds it (exit code 75), and the longest a loser took, by the clock and by its own CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.coordinator.run import take_lock
from fleet.core.errors import Exit, HeldError
from fleet.wiring import open_fleet
from tests.e2e.conftest import FLEET, Repository, new_repository

READY_S, HOLD_S = 60.0, 5.0
WON = 1


@dataclass(slots=True, kw_only=True)
class Verdict:
    rounds: int = 0
    starts: int = 0
    not_one: int = 0  # rounds without exactly one winner
    wrong: int = 0  # losers that ended in another way
    slowest_s: float = 0.0
    slowest_cpu_s: float = 0.0
    commands: int = 0


def race(repository: Repository, *, starts: int, verdict: Verdict, rng: random.Random) -> None:
    """One round. The winner holds the lock until all others have been told."""
    gate, release = os.pipe(), os.pipe()
    told = os.pipe()
    pids = [_starter(repository, gate, release, told, rng.random() * 0.01) for _ in range(starts)]
    for descriptor in (gate[0], release[0], told[1]):
        os.close(descriptor)
    with os.fdopen(told[0]) as lines:
        for _ in pids:
            assert lines.readline() == "ready\n"
        os.close(gate[1])  # off they go
        said = [json.loads(lines.readline()) for _ in pids]
    os.close(release[1])
    for pid in pids:
        os.waitpid(pid, 0)
    losers = [line for line in said if line["code"] != WON]
    verdict.rounds += 1
    verdict.starts += starts
    verdict.not_one += len(said) - len(losers) != 1
    verdict.wrong += sum(line["code"] != Exit.HELD for line in losers)
    verdict.slowest_s = max([verdict.slowest_s, *(line["s"] for line in losers)])
    verdict.slowest_cpu_s = max([verdict.slowest_cpu_s, *(line["cpu"] for line in losers)])


def _starter(
    repository: Repository,
    gate: tuple[int, int],
    release: tuple[int, int],
    told: tuple[int, int],
    late_s: float,
) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(gate[1])
        os.close(release[1])
        fleet = open_fleet(repository.path, repository.env)
        os.write(told[1], b"ready\n")
        os.read(gate[0], 1)
        threading.Event().wait(late_s)
        began, code = time.monotonic(), int(Exit.HELD)
        cpu = time.process_time()
        held = None
        try:
            held = take_lock(fleet)
            code = WON
        except HeldError:
            pass
        line = {"code": code, "s": time.monotonic() - began, "cpu": time.process_time() - cpu}
        os.write(told[1], (json.dumps(line) + "\n").encode())
        os.read(release[0], 1)
        if held is not None:
            held.release()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def commands(repository: Repository, *, starts: int, verdict: Verdict) -> None:
    """The same with the command itself: one run, the others are refused."""
    repository.tasks({"id": "a", "prompt": "@sleep 60"})
    runs = [
        subprocess.Popen(
            [*FLEET, "run"], cwd=repository.path, env=repository.env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(starts)
    ]  # fmt: skip
    until = time.monotonic() + READY_S * 5
    while sum(run.poll() is None for run in runs) > 1 and time.monotonic() < until:
        threading.Event().wait(0.1)
    threading.Event().wait(1.0)
    alive = [run for run in runs if run.poll() is None]
    verdict.commands += starts
    verdict.not_one += len(alive) != 1
    verdict.wrong += sum(run.returncode != Exit.HELD for run in runs if run not in alive)
    assert repository.fleet("stop", "--now").returncode == 0
    for run in alive:
        run.wait(60)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--commands", type=int, default=3, help="rounds of `fleet run`, 10 each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    verdict, rng = Verdict(), random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="fleet-race-") as folder:
        repository = new_repository(Path(folder))
        open_fleet(repository.path, repository.env).close()
        for _ in range(options.rounds):
            race(repository, starts=options.starts, verdict=verdict, rng=rng)
        for _ in range(options.commands):
            commands(repository, starts=10, verdict=verdict)
    sys.stdout.write(json.dumps(asdict(verdict)) + "\n")
    return 1 if verdict.not_one or verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
