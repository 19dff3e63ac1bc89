"""A worker's memory, and the time to its first claim, beside its bare imports.

    .venv/bin/python scripts/bench/worker.py [--rounds 9] [--imports]

Private memory is Private_Clean + Private_Dirty of /proc/<pid>/smaps_rollup. The first claim is
timed from the start of the process to its `claimed` event; its imports to the end of the process
and, which is the fair half of the comparison, to the last import: the interpreter's own end takes
long enough to make a claim look quicker than what it contains. Prints ratios; asserts nothing.
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
TO_THE_LAST = [*IMPORTS[:-1], f"{IMPORTS[-1]}, os; os._exit(0)"]
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
    rows = [
        (time_to_end(IMPORTS), time_to_end(TO_THE_LAST), time_to_claim(fleet, folder))
        for _ in range(rounds + 1)
    ]
    whole, bare, claim = (statistics.median(times) for times in zip(*rows[1:], strict=True))
    print(f"start to first claim, medians of {rounds} after one that fills the caches")
    for name, middle in (("imports, end", whole), ("its imports", bare), ("first claim", claim)):
        print(f"  {name:12} {middle * 1000:6.0f} ms  {middle / bare:.2f}")
    lock.release()
    fleet.close()


def time_to_end(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True)
    return time.perf_counter() - began


def print_imports(most: int = 15) -> None:
    """The modules that take longest by themselves."""
    argv = [IMPORTS[0], "-X", "importtime", *IMPORTS[1:]]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stderr
    lines = [line.removeprefix("import time:").split("|") for line in said.splitlines()[1:]]
    for alone, _, module in sorted(lines, key=lambda line: -int(line[0]))[:most]:
        print(f"  {int(alone) / 1000:6.1f} ms  {module.strip()}")


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
    parser.add_argument("--imports", action="store_true", help="what it imports")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    for step in (memory, lambda folder: first_claim(folder, options.rounds)):
        with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
            step(Path(name))
    if options.imports:
        print_imports()


if __name__ == "__main__":
    main()
