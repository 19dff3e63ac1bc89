"""`fleet task list` and `fleet --help`, beside `import typer`.

    .venv/bin/python scripts/bench/cli.py [--rounds 11] [--imports]

Medians of alternating runs in a repository with 50 tasks, without a ledger and with one in which
every task has ended. A bare `task list` skips the parser; with any option it does not, so that is
measured too. Prints ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fleet.core.attempt import Outcome
from fleet.process.identity import myself
from fleet.store.claims import try_hold
from fleet.wiring import open_fleet
from fleet.worker.preflight import take_tasks

LIST = [sys.executable, "-m", "fleet", "task", "list"]
CASES = {
    "import typer": [sys.executable, "-c", "import typer"],
    "fleet task list": LIST,
    "… after a run": LIST,
    "… with an option": [*LIST, "--state", "failed"],
    "fleet --help": [sys.executable, "-m", "fleet", "--help"],
}


def make_repository(folder: Path) -> None:
    (folder / "tasks").mkdir(parents=True)
    entries = [
        f'[[tasks]]\nid = "t{n}"\nprompt = "$ touch t{n}"\nmax_attempts = 1\n' for n in range(50)
    ]
    (folder / "tasks" / "t.toml").write_text("\n".join(entries))
    (folder / "fleet.toml").write_text('[fleet]\nagent = "command"\n')
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)


def end_all(folder: Path) -> None:
    """The ledger as a run leaves it whose tasks were all refused."""
    fleet = open_fleet(folder, os.environ)
    take_tasks(fleet)
    owner, rng, claims = myself("bench"), random.Random(1), fleet.layout
    while found := fleet.ledger.claim(
        owner, lambda id_: try_hold(claims.claim_lock(id_)), now=time.time()
    ):
        claim, lock = found
        with lock:
            fleet.ledger.ended(
                claim.task.id, claim.epoch, Outcome.REFUSED, "", now=time.time(), rng=rng
            )
    fleet.close()


def seconds(argv: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--imports", action="store_true", help="what `fleet task list` imports")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        folder, used = Path(name, "new"), Path(name, "used")
        make_repository(folder)
        make_repository(used)
        end_all(used)
        places = {"… after a run": used, "… with an option": used}
        taken: dict[str, list[float]] = {case: [] for case in CASES}
        for case, argv in CASES.items():
            seconds(argv, places.get(case, folder))  # once, to fill the caches
        for _ in range(options.rounds):
            for case, argv in CASES.items():
                taken[case].append(seconds(argv, places.get(case, folder)))
        bare = statistics.median(taken["import typer"])
        print(f"load {os.getloadavg()[0]:.1f}, medians of {options.rounds}")
        for case, times in taken.items():
            middle = statistics.median(times)
            print(f"  {case:16} {middle * 1000:6.0f} ms  {middle / bare:.2f}")
        if options.imports:
            done = subprocess.run(
                [sys.executable, "-X", "importtime", "-m", "fleet", "task", "list"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            )
            lines = [line.split("|") for line in done.stderr.splitlines()[1:] if "|" in line]
            for _, cumulative, module in sorted(lines, key=lambda x: -int(x[1]))[:40]:
                print(f"  {int(cumulative) / 1000:7.1f} ms {module}")


if __name__ == "__main__":
    main()
