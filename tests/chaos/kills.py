"""Real runs of a fleet, struck at random instants until they are done; and how soon they go on.

    python -m tests.chaos.kills --mode coordinator [--kills 200] [--agents 8] [--tasks 60]
    python -m tests.chaos.kills --mode runs [--runs 50] [--tasks 6] [--seed 1]

`coordinator`: one run, whose coordinator is killed (-9) again and again and started anew, and now
and then a worker is too. `runs`: many runs, each interrupted a few times in a way of its own
(coordinator, worker, lander, all of them, Ctrl-C, SIGTERM). Afterwards the tree must be that of an
undisturbed run, the audit clean, and no process left. Measured: from the start of the new
`fleet run` to the next claim, where there was something to claim; and from the death of a worker
to the claim of its task by another.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.e2e.conftest import CONFIG, Repository, new_repository, writes
from tests.e2e.ledger import rows, states
from tests.e2e.test_supervision import marked_processes, state_folder, worker_pids

CALM = (0.2, 2.0)  # between two faults; 1 is how long a run takes to its first claim here
WAYS = ("coordinator", "worker", "lander", "all", "ctrl-c", "two ctrl-cs")
WORKERS_TOO = 0.3  # how often a worker is killed beside the coordinator
GIVE_UP_S = 1800.0


@dataclass(slots=True, kw_only=True)
class Verdict:
    mode: str
    seed: int
    kills: int = 0
    worker_kills: int = 0
    seconds: float = 0.0
    to_claim_s: list[float] = field(default_factory=list)  # from the start of the new run
    to_reclaim_s: list[float] = field(default_factory=list)  # from the death of a worker
    breaches: list[str] = field(default_factory=list)


def prepare(repository: Repository, *, agents: int, tasks: int) -> None:
    """Independent tasks, and chains that start from what others have landed."""
    repository.write("fleet.toml", CONFIG.format(agents=agents, commands='["python3 check.py"]'))
    listed: list[dict[str, object]] = []
    for number in range(tasks):
        needs = [f"t{number - 1}"] if number % 5 == 4 else []
        prompt = f"@sleep 0.3\n{writes(f't{number}.txt', f'task {number}')}"
        listed.append(
            {"id": f"t{number}", "prompt": prompt, "depends_on": needs, "max_attempts": 99}
        )
    repository.tasks(*listed)
    repository.commit("tasks")


def a_copy(repository: Repository, folder: Path) -> Repository:
    """The same beginning, with a cache of its own."""
    env = {**repository.env, "XDG_CACHE_HOME": str(folder / "cache")}
    copy = Repository(path=folder / "project", env=env)
    repository.git("clone", "-q", str(repository.path), str(copy.path))
    return copy


def tree_of(repository: Repository) -> str:
    return repository.git("rev-parse", "main^{tree}")


def _undisturbed(repository: Repository) -> float:
    """Run it to its end; how long it took to its first claim."""
    began = time.time()
    assert repository.fleet("run", timeout=GIVE_UP_S).returncode == 0
    (first,) = _first_claim_after(repository, began)
    return first


def finish(repository: Repository, wanted: str) -> Iterator[str]:
    """Let it end undisturbed; then what is wrong."""
    done = repository.fleet("run", timeout=GIVE_UP_S)
    if done.returncode:
        yield f"the last run ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
    left = {id_: state for id_, state in states(repository).items() if state != "merged"}
    if left:
        yield f"not merged: {left}"
    if tree_of(repository) != wanted:
        yield "the tree is not that of an undisturbed run"
    if repository.git("status", "--porcelain"):
        yield f"the checkout: {repository.git('status', '--porcelain')}"
    audited = repository.audit()
    if audited:
        yield f"audit: {audited}"
    for path in (repository.path / ".git", state_folder(repository) / "hub.git"):
        checked = subprocess.run(
            ["git", "-C", str(path), "fsck", "--full", "--strict", "--no-dangling"],
            env=repository.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if checked.returncode:
            yield f"fsck of {path.name}: {checked.stdout}{checked.stderr}"
    if marked_processes(repository):
        yield "processes of attempts live"


# -- one run, killed all the time ------------------------------------------------------------------


def coordinator_kills(folder: Path, *, kills: int, agents: int, tasks: int, seed: int) -> Verdict:
    verdict, rng, began = Verdict(mode="coordinator", seed=seed), random.Random(seed), time.time()
    base = new_repository(folder)
    prepare(base, agents=agents, tasks=tasks)
    undisturbed = a_copy(base, folder / "undisturbed")
    calm = _undisturbed(undisturbed)
    wanted, number, repository = tree_of(undisturbed), 0, base
    while verdict.kills < kills:
        # When it is done, it is done again: a fresh copy for the rest of the kills.
        number += 1
        repository = a_copy(base, folder / f"run-{number}")
        _torment(repository, verdict, rng, kills, calm)
        verdict.breaches += finish(repository, wanted)
    verdict.seconds = round(time.time() - began, 1)
    return verdict


def _torment(
    repository: Repository, verdict: Verdict, rng: random.Random, kills: int, calm: float
) -> None:
    while verdict.kills < kills and set(states(repository).values()) != {"merged"}:
        started, ready = time.time(), _ready(repository)
        with repository.start("run") as run:
            _wait(calm * rng.uniform(*CALM))
            if rng.random() < WORKERS_TOO:
                _kill_a_worker(repository, verdict, rng)
            run.kill()
            verdict.kills += 1
            run.wait()
            _drop(run)
        if ready:
            verdict.to_claim_s += _first_claim_after(repository, started)


def _kill_a_worker(repository: Repository, verdict: Verdict, rng: random.Random) -> None:
    """One that has a task in hand; and how long it takes until another has it."""
    held = rows(
        repository,
        "SELECT t.id, t.epoch, a.pid FROM tasks t JOIN attempts a ON a.task = t.id "
        "AND a.epoch = t.epoch WHERE t.state IN ('claimed', 'running')",
    )
    alive = set(worker_pids(repository))
    victims = [(str(task), epoch, pid) for task, epoch, pid in held if pid in alive]
    if not victims:
        return
    task, epoch, pid = rng.choice(victims)
    assert isinstance(pid, int)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    died = time.time()
    verdict.worker_kills += 1
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        again = rows(
            repository,
            f"SELECT claimed_at FROM attempts WHERE task = '{task}' AND epoch = {int(epoch) + 1}",  # type: ignore[arg-type]
        )
        if again:
            verdict.to_reclaim_s.append(max(0.0, float(again[0][0]) - died))  # type: ignore[arg-type]
            return
        _wait(0.02)
    # Unless it was handed in at the very instant it was killed.
    if states(repository).get(task) in ("claimed", "running"):
        verdict.to_reclaim_s.append(10.0)


def _ready(repository: Repository) -> bool:
    return bool(
        rows(repository, "SELECT 1 FROM tasks WHERE state = 'pending' AND waiting = 0 LIMIT 1")
    )


def _first_claim_after(repository: Repository, started: float) -> list[float]:
    found = rows(repository, f"SELECT min(claimed_at) FROM attempts WHERE claimed_at > {started}")
    return [float(at) - started for (at,) in found if isinstance(at, float)]


# -- many runs, each interrupted a few times -------------------------------------------------------


def _pids(repository: Repository, module: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if module.encode() in words and os.fsencode(repository.path) in words:
                found.append(int(entry.name))
    return found


def _strike(repository: Repository, run: subprocess.Popen[str], rng: random.Random) -> str:
    def kill(pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    workers, landers = _pids(repository, "fleet.worker"), _pids(repository, "fleet.landing")
    how = rng.choice(WAYS)
    match how:
        case "coordinator":
            run.kill()
        case "worker":
            kill(workers[:1])
        case "lander":
            kill(landers)
        case "all":
            kill([run.pid, *workers, *landers])
        case _:
            run.send_signal(signal.SIGINT)
            if how == "two ctrl-cs":
                run.send_signal(signal.SIGTERM)
    return how


def interrupted_runs(folder: Path, *, runs: int, agents: int, tasks: int, seed: int) -> Verdict:
    verdict, rng, began = Verdict(mode="runs", seed=seed), random.Random(seed), time.time()
    base = new_repository(folder)
    prepare(base, agents=agents, tasks=tasks)
    undisturbed = a_copy(base, folder / "undisturbed")
    calm = _undisturbed(undisturbed)
    wanted = tree_of(undisturbed)
    for number in range(runs):
        repository = a_copy(base, folder / f"run-{number}")
        for _ in range(rng.randint(1, 3)):
            with repository.start("run") as run:
                _wait(calm * rng.uniform(0.5, 3.0))
                how = _strike(repository, run, rng)
                verdict.kills += 1
                if how in ("worker", "lander"):
                    _wait(rng.uniform(0.2, 1.0))
                    run.kill()
                run.wait(120)
                _drop(run)
        verdict.breaches += [f"run {number}: {what}" for what in finish(repository, wanted)]
    verdict.seconds = round(time.time() - began, 1)
    return verdict


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _drop(run: subprocess.Popen[str]) -> None:
    """Children of a killed coordinator may hold the pipe's other end."""
    if run.stdout is not None:
        run.stdout.close()


def quantiles(found: list[float]) -> str:
    if not found:
        return "none"
    line = sorted(found)
    p50, p99 = line[len(line) // 2], line[min(len(line) - 1, int(len(line) * 0.99))]
    return f"n {len(line)}, p50 {p50:.2f} s, p99 {p99:.2f} s, most {line[-1]:.2f} s"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("coordinator", "runs"), default="coordinator")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-kills-") as folder:
        sizes = {"agents": options.agents, "tasks": options.tasks, "seed": options.seed}
        if options.mode == "coordinator":
            verdict = coordinator_kills(Path(folder), kills=options.kills, **sizes)
        else:
            verdict = interrupted_runs(Path(folder), runs=options.runs, **sizes)
    told = asdict(verdict)
    for name in ("to_claim_s", "to_reclaim_s"):
        told[name] = quantiles(told[name])
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if verdict.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
