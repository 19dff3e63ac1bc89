"""The process table: one look at `/proc`, and who in it carries a mark.

A look is not an instant. Processes that come while it is taken are looked at too, until none is
new. If some went before they could be read, each may have left a child behind, and the look is
not `settled`. A process hides its mark from us by overwriting its environment, by exec with another
one, or by not being dumpable; then only its ancestry gives it away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

LISTINGS = 20  # at most, in one look
PIECE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One line of the table. `started` is in clock ticks since boot, as in `identity`."""

    pid: int
    parent: int
    session: int
    started: int
    zombie: bool  # ended, and only waiting to be reaped
    marked: bool

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.started


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    processes: Mapping[int, Process]
    settled: bool  # nothing came or went unseen

    def marked(self) -> list[int]:
        return [process.pid for process in self.processes.values() if process.marked]

    def below(self, seeds: Iterable[int], *, through: int | None = None) -> set[int]:
        """All descendants of the seeds. Those of `through` count only when it is a seed."""
        children: dict[int, list[int]] = {}
        for process in self.processes.values():
            children.setdefault(process.parent, []).append(process.pid)
        found: set[int] = set()
        ahead = list(seeds)
        while ahead:
            fresh = [pid for pid in children.get(ahead.pop(), ()) if pid not in found]
            found.update(fresh)
            ahead.extend(pid for pid in fresh if pid != through)
        return found


def look(entry: bytes | None = None, meet: Callable[[Process], None] | None = None) -> Table:
    """The table as it is now; `entry` is the `MARK=value` by which processes are marked.

    `meet` is called for each process the moment it is read: some are not there for long.
    """
    processes: dict[int, Process] = {}
    missed: set[int] = set()
    for _ in range(LISTINGS):
        fresh = [pid for pid in _pids() if pid not in processes and pid not in missed]
        if not fresh:
            return Table(processes=processes, settled=not missed)
        for pid in fresh:
            process = _process(pid, entry)
            if process is None:
                missed.add(pid)
                continue
            processes[pid] = process
            if meet is not None:
                meet(process)
    return Table(processes=processes, settled=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a living process was started with, as far as we may see it."""

    pid: int
    command: tuple[bytes, ...]
    environ: tuple[bytes, ...]  # NAME=value

    def value_of(self, name: bytes) -> bytes | None:
        start = name + b"="
        return next((e.removeprefix(start) for e in self.environ if e.startswith(start)), None)


def surroundings() -> Iterator[Surroundings]:
    """Of every process that lives and does not hide from us."""
    for pid in _pids():
        environ = _read(f"/proc/{pid}/environ")
        command = _read(f"/proc/{pid}/cmdline")
        if environ or command:
            yield Surroundings(
                pid=pid,
                command=tuple(command.split(b"\0")),
                environ=tuple(environ.split(b"\0")),
            )


def entry_of(mark: str, value: str) -> bytes:
    return os.fsencode(f"{mark}={value}")


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []  # no /proc, no table


def _process(pid: int, entry: bytes | None) -> Process | None:
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    # The command name may hold spaces and brackets: count fields after the last one.
    fields = stat[stat.rindex(b")") + 2 :].split()
    # A leader whose main thread has ended shows as a zombie while its other threads go on.
    threads = int(fields[17])
    zombie = fields[0] in b"ZX" and threads <= 1
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        zombie=zombie,
        marked=entry is not None and not zombie and _carries(pid, entry, threads),
    )


def _carries(pid: int, entry: bytes, threads: int) -> bool:
    environ = _read(f"/proc/{pid}/environ")
    if not environ and threads > 1:
        environ = next(filter(None, map(_read, _environs(pid))), b"")
    return entry in environ and entry in environ.split(b"\0")


def _environs(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/task/{thread}/environ" for thread in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208
    except OSError:
        return []


def _read(path: str) -> bytes:
    """Everything in a file of /proc; nothing when it is gone or not for us."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        pieces = []
        while piece := os.read(fd, PIECE):
            pieces.append(piece)
        return b"".join(pieces)
    except OSError:
        return b""
    finally:
        os.close(fd)
