"""A worker's memory, and the time to its first claim, beside its bare imports.

    .venv/bin/python scripts/bench/worker.py [--rounds 9]

Private memory is Private_Clean + Private_Dirty of /proc/<pid>/smaps_rollup. The first claim is
timed from the start of the process to its `claimed` event. Prints ratios; asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.store.claims import hold
from fleet.store.events import last_seq
from fleet.wiring import Fleet, open_fleet
from fleet.worker.preflight import take_tasks

IMPORTS = [sys.executable, "-P", "-c", "import fleet.worker.__main__"]
IDLE = "import time; time.sleep(60)"
IMPORTED = f"import fleet.worker.__main__; {IDLE}"


def make_repository(folder: Path, tasks: int) -> Fleet:
    """A repository whose gate and agents cost nothing."""
    top = folder / "project"
    (top / "tasks").mkdir(parents=True)
    entries = [f'[[tasks]]\nid = "t{n}"\nprompt = "$ touch t{n}"\n' for n in range(tasks)]
    (top / "tasks" / "t.toml").write_text("\n".join(entries) or "tasks = []\n")
    (top / "fleet.toml").write_text('[fleet]\nagent = "command"\n[gate]\ncommands = ["true"]\n')
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], cwd=top, check=True)
    fleet = open_fleet(top, environment(folder))
    take_tasks(fleet)
    return fleet


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}


@contextmanager
def a_process(argv: list[str], folder: Path) -> Iterator[int]:
    with subprocess.Popen(argv, env=environment(folder)) as child:
        try:
            time.sleep(1.5)
            yield child.pid
        finally:
            child.kill()


def private_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return (
        sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
        / 1024
    )


def worker(top: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "fleet.worker", "--top", str(top), "--number", "1"]


def memory(folder: Path) -> None:
    fleet = make_repository(folder, tasks=0)
    lock = hold(fleet.layout.coordinator_lock, timeout_s=1.0)
    assert lock is not None
    cases = {
        "bare python": [sys.executable, "-c", IDLE],
        "its imports": [sys.executable, "-P", "-c", IMPORTED],
        "idle worker": worker(fleet.layout.top),
    }
    print("private memory")
    for name, argv in cases.items():
        with a_process(argv, folder) as pid:
            print(f"  {name:12} {private_mb(pid):6.1f} MB")
    lock.release()
    fleet.close()


def first_claim(folder: Path, rounds: int) -> None:
    fleet = make_repository(folder, tasks=rounds + 2)
    lock = hold(fleet.layout.coordinator_lock, timeout_s=1.0)
    assert lock is not None
    bare: list[float] = []
    claims: list[float] = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(IMPORTS, check=True)
        bare.append(time.perf_counter() - began)
        claims.append(time_to_claim(fleet, folder))
        if number == 0:  # the first round fills caches
            bare.clear()
            claims.clear()
    middle = statistics.median(bare)
    print(f"start to first claim, medians of {rounds}")
    for name, taken in (("its imports", bare), ("first claim", claims)):
        print(f"  {name:12} {statistics.median(taken) * 1000:6.0f} ms  "
              f"{statistics.median(taken) / middle:.2f}")  # fmt: skip
    lock.release()
    fleet.close()


def time_to_claim(fleet: Fleet, folder: Path) -> float:
    seen = last_seq(fleet.db)
    began = time.perf_counter()
    with subprocess.Popen(worker(fleet.layout.top), env=environment(folder)) as child:
        while (
            fleet.db.one("SELECT 1 FROM events WHERE seq > ? AND kind = 'claimed'", (seen,)) is None
        ):
            time.sleep(0.001)
        taken = time.perf_counter() - began
        child.terminate()  # finishes what it has in hand
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    for step in (memory, lambda folder: first_claim(folder, options.rounds)):
        with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
            step(Path(name))


if __name__ == "__main__":
    main()
