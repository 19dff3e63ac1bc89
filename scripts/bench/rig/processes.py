"""Processes of a run: started, read, and ended by id, whatever ends the run."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 5.0  # seconds from TERM to KILL


class NotStarted(Exception):
    """A lane that cannot be measured, and why."""


class Processes:
    """Everything started through it is ended with it, with all its descendants."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in reversed(self._all):
            end(process)

    def start(
        self, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the script alone, which ends the others
            )
        self._all.append(process)
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    """TERM to the one, KILL to whatever of its tree is left."""
    whole = tree(process.pid) if process.poll() is None else ()
    if whole:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    for pid, began in whole:
        if _began(pid) == began:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def tree(root: int) -> tuple[tuple[int, str], ...]:
    """A process and its descendants, each with its start time: an id alone may be reused."""
    found, new = [], [root]
    while new:
        pid = new.pop()
        with contextlib.suppress(OSError):
            found.append((pid, _began(pid)))
            for task in Path(f"/proc/{pid}/task").iterdir():
                new += map(int, (task / "children").read_text().split())
    return tuple(found)


def _began(pid: int) -> str:
    try:
        return _stat(pid)[19]
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: names may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@dataclass(frozen=True, slots=True)
class Clock:
    """CPU that trees of processes have used so far; `since` an earlier reading, in seconds.

    From schedstat, in nanoseconds and thread by thread; utime and stime come in ticks of 10 ms, and
    are believed only where they say clearly more: threads or children that have ended.
    """

    threads: Mapping[int, int]
    ticks: int

    def since(self, earlier: Clock) -> float:
        fine = sum(now - earlier.threads.get(tid, 0) for tid, now in self.threads.items()) / 1e9
        coarse = (self.ticks - earlier.ticks) / TICK
        return coarse if coarse > fine * 1.02 + 3 / TICK else fine


def cpu(roots: Iterable[int]) -> Clock:
    threads, ticks = {}, 0
    for root in roots:
        for pid, _ in tree(root):
            with contextlib.suppress(OSError):
                ticks += sum(map(int, _stat(pid)[11:15]))
                for task in Path(f"/proc/{pid}/task").iterdir():
                    threads[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return Clock(threads, ticks)


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes of 2^20, of whole trees."""

    rss: float
    pss: float  # nan where a process does not let itself be looked into
    private: float


def memory(roots: Iterable[int]) -> Memory:
    pids = [pid for root in roots for pid, _ in tree(root)]
    rss = sum(_sizes(pid, "status").get("VmRSS", 0.0) for pid in pids)
    maps = [_sizes(pid, "smaps_rollup") for pid in pids]
    pss = sum(found.get("Pss", math.nan) for found in maps)
    private = sum(
        found.get("Private_Clean", math.nan) + found.get("Private_Dirty", math.nan)
        for found in maps
    )
    return Memory(rss, pss, private)


def _sizes(pid: int, name: str) -> dict[str, float]:
    try:
        lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
    except OSError:
        return {}
    parted = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {key: float(value.split()[0]) / 1024 for key, _, value in parted}


def tail(log: Path, lines: int = 3) -> str:
    """The end of what a process said, on one line."""
    said = log.read_text(errors="replace").strip().splitlines()[-lines:] if log.exists() else []
    return " / ".join(line.strip() for line in said)[-400:] or "it said nothing"
