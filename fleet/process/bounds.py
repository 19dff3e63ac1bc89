"""How much of the machine a program and all it has started may take, looked at while it runs.

A look about once a second, at the process table and the sizes of folders; at once when there are
suddenly many more processes than before. Not to the byte: what is taken between two looks is not
seen, and the looks take at most a few hundredths of the time. Memory is what is resident; where
that is too much, pages that several of its processes share are counted once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet.process.table import Table, entry_of, look

LOOK_S = 1.0
REST = 20  # times as long as a look took, until the next
PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    processes: int
    memory_bytes: int
    disk_bytes: int  # by which its folders may grow
    free_bytes: int  # that the disk of each folder must keep
    folders: tuple[Path, ...] = ()  # the program's own


class BoundsWatch:
    """The bounds of one running program. Ask as often as you like: it looks when it is time."""

    def __init__(self, bounds: Bounds, *, root: int, entry: tuple[str, str]) -> None:
        self._bounds = bounds
        self._root = root
        self._entry = entry_of(*entry)
        self._others = _population()
        self._size = _size(bounds.folders)
        self._next = self._next_sizes = time.monotonic() + LOOK_S / 4

    def exceeded(self) -> str | None:
        """What it takes too much of, if anything."""
        now = time.monotonic()
        crowded = _population() - self._others > self._bounds.processes
        if now < self._next and not crowded:
            return None
        reason = self._processes() or self._disk(now)
        took = time.monotonic() - now
        self._next = now + took + max(LOOK_S, REST * took)
        return reason

    def _processes(self) -> str | None:
        pids = _tree(look(self._entry), self._root)
        if len(pids) > self._bounds.processes:
            return f"more than {self._bounds.processes:,} processes"
        most = self._bounds.memory_bytes
        if sum(map(_resident, pids)) > most and sum(map(_share, pids)) > most:
            return f"more than {most // MB:,} MB of memory"
        return None

    def _disk(self, now: float) -> str | None:
        least = self._bounds.free_bytes
        for folder in self._bounds.folders:
            if _free(folder) < least:
                return f"less than {least // MB:,} MB are free on the disk of {folder}"
        if now < self._next_sizes:
            return None
        grown = _size(self._bounds.folders) - self._size
        self._next_sizes = now + max(LOOK_S, REST * (time.monotonic() - now))
        if grown > self._bounds.disk_bytes:
            return f"more than {self._bounds.disk_bytes // MB:,} MB written into its folders"
        return None


def _population() -> int:
    """All processes there are, ours or not: one listing, no reading."""
    try:
        return sum(name.isdigit() for name in os.listdir("/proc"))  # noqa: PTH208
    except OSError:
        return 0


def _tree(table: Table, root: int) -> Collection[int]:
    seeds = {root, *table.marked()} - {os.getpid()}
    found = (seeds | table.below(seeds, through=os.getpid())) - {os.getpid()}
    return [pid for pid in found if pid in table.processes and not table.processes[pid].zombie]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0  # it has ended


def _share(pid: int) -> int:
    """What is resident, each page divided by how many processes share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
    except (OSError, StopIteration, IndexError, ValueError):
        return _resident(pid)


def _free(folder: Path) -> int:
    try:
        status = os.statvfs(folder)
    except OSError:
        return 1 << 62
    return status.f_bavail * status.f_frsize


def _size(folders: Collection[Path]) -> int:
    return sum(_occupied(folder) for folder in folders)


def _occupied(folder: Path) -> int:
    return sum(blocks * 512 for blocks in _blocks(str(folder)))


def _blocks(folder: str) -> Iterator[int]:
    ahead = [folder]
    while ahead:
        try:
            with os.scandir(ahead.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
                    yield entry.stat(follow_symlinks=False).st_blocks
        except OSError:
            continue  # gone meanwhile, or closed to us
