"""A control group for each program: the kernel's own list of all it has started.

Whoever wants may leave its session, its environment and its parents, but not its group; the next
coordinator finds it there too, after whoever made it was killed. Needs cgroup v2 with
`cgroup.kill` (Linux 5.14), and a place in it that we may write: root has one, a user in a session
of systemd's usually has. Everything here says that there is none rather than fail.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from fleet.process.kernel import pause

MOUNTS, OURS = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")
PREFIX = "fleet-"
GONE_S = 5.0  # after a kill: longer means that the kernel waits for a disk
NAP_S = 0.002


@cache
def base() -> Path | None:
    """The highest place where we may make groups and move a process of ours into them; the same
    for all sessions of a user, where possible, so that another one finds what this one made."""
    top = _mount()
    own = _own_path()
    if top is None or own is None:
        return None
    places = [top]
    for part in Path(own).parts[1:]:
        places.append(places[-1] / part)
    return next((place for place in places if _can_use(place)), None)


def make(mark: str) -> Path | None:
    """A new group for a program with this mark; None where there is no such thing."""
    place = base()
    if place is None:
        return None
    group = place / f"{_name(mark)}{os.getpid()}.{time.monotonic_ns()}"
    try:
        group.mkdir()
    except OSError:
        return None
    return group


def enter(group: Path) -> bool:
    """Move the calling process in, and so all that it will start. Whether it is in: a program
    without a group is still found by its mark."""
    try:
        fd = os.open(group / "cgroup.procs", os.O_WRONLY)
    except OSError:
        return False
    try:
        return os.write(fd, b"0") == 1
    except OSError:
        return False
    finally:
        os.close(fd)


def end_marked(mark: str) -> int:
    """End every group that was made for this mark, by whomever; how many were still in them."""
    return sum(_end(group) for group in _named(_name(mark)))


def _end(group: Path) -> int:
    """Kill everything in it, and remove it."""
    number = 0
    with suppress(OSError):
        number = len((group / "cgroup.procs").read_bytes().split())
        (group / "cgroup.kill").write_text("1")
    until = time.monotonic() + GONE_S
    while time.monotonic() < until:
        try:
            group.rmdir()
        except FileNotFoundError:
            break
        except OSError:  # somebody is still dying in there
            pause(NAP_S)
        else:
            break
    return number


def _named(start: str) -> list[Path]:
    place = base()
    if place is None:
        return []
    try:
        with os.scandir(place) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(start)]
    except OSError:
        return []


def _name(mark: str) -> str:
    """Ids have no @, so that no mark is the beginning of another one's name."""
    return f"{PREFIX}{mark.replace('/', '-')}@"


def _mount() -> Path | None:
    with suppress(OSError):
        for line in MOUNTS.read_text().splitlines():
            fields, _, kind = line.partition(" - ")
            if kind.startswith("cgroup2 "):
                return Path(fields.split()[4].replace("\\040", " "))
    return None


def _own_path() -> str | None:
    with suppress(OSError):
        for line in OURS.read_text().splitlines():
            if line.startswith("0::/"):
                return line[3:]
    return None


def _can_use(place: Path) -> bool:
    """Tried, since permissions alone do not tell: a group is made, and a child of ours moved."""
    group = place / f"{_name('probe')}{os.getpid()}.{time.monotonic_ns()}"
    try:
        group.mkdir()
    except OSError:
        return False
    try:
        if not (group / "cgroup.kill").exists():
            return False
        child = os.fork()
        if child == 0:
            os._exit(0 if enter(group) else 1)
        return os.waitpid(child, 0)[1] == 0
    finally:
        _end(group)
