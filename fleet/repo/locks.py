"""The `.lock` files of a killed git, which stop every git after it for ever.

DESIGN. Whatever of ours writes refs holds a shared flock on the git directory itself, which the
git it starts inherits: so it is held until the last of them has ended, however its parent did.
Whoever then has it exclusively knows that no git of ours is at work, and that a lock of ours is a
dead one. A person's git may be at work all the same: a lock goes only if it has stood unchanged
for a while, thousands of times longer than git holds one.

Not promised: a git that somebody has stopped with its lock in hand loses it.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fleet.process.command import Done

LEFT_FOR_S = 2.0
ALONE_WITHIN_S = 10.0
POLL_S = 0.01
_BUSY = re.compile(
    rb"nable to create (?:file )?'?(/[^\n]+?(?:\.lock|/packed-refs\.new))'?: File exists"
)
_Identity = tuple[int, int, int]


def in_the_way(done: Done) -> Path | None:
    """The lock that a git command has failed for."""
    found = None if done.ok else _BUSY.search(done.err)
    return Path(os.fsdecode(found[1])) if found else None


@contextmanager
def shared(git_dir: Path) -> Iterator[int]:
    """While something of ours writes there; the descriptor is for it to inherit."""
    fd = os.open(git_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield fd
    finally:
        os.close(fd)  # not LOCK_UN, which would be for whoever inherited it too


def clear(git_dir: Path, places: Sequence[str] = ("",)) -> bool:
    """Remove the locks that dead processes left beneath `places`, folders that are ours; all of
    it by default. False if one may be somebody's still."""
    before = {path: _identity(path) for path in _found(git_dir, places)}
    if not before:
        return True
    threading.Event().wait(LEFT_FOR_S)
    with _alone(git_dir) as alone:
        if alone:
            for path, identity in before.items():
                if identity is not None and identity == _identity(path):
                    path.unlink(missing_ok=True)
    return not any(_identity(path) == identity for path, identity in before.items() if identity)


def _found(git_dir: Path, places: Sequence[str]) -> Iterator[Path]:
    for place in places:
        if not place:
            yield from (*git_dir.glob("*.lock"), git_dir / "packed-refs.new")
        yield from (git_dir / (place or "refs")).rglob("*.lock")


@contextmanager
def _alone(git_dir: Path) -> Iterator[bool]:
    fd = os.open(git_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _lock_alone(fd)
    finally:
        os.close(fd)


def _lock_alone(fd: int) -> bool:
    until, pause = time.monotonic() + ALONE_WITHIN_S, threading.Event()
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        pause.wait(POLL_S)
    return False


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
