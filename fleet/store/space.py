"""Room on the disk: how much is left, how much must be, and a reserve for the last words.

A fleet claims nothing while less than `[workspace] min_free_mb` is free where its state or its
workspaces are. The reserve is for what fills a disk all the same within seconds: 16 MB of real
blocks beside the database, given up by whoever next wants to write when hardly anything is left.
So the outcome in hand is recorded, and nothing more is begun.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet.core.errors import NoSpaceError, StorageError
from fleet.store.layout import Layout, reserve
from fleet.store.sqlite import is_full

MB = 1_000_000
RESERVE_BYTES = 16 * MB
SHORT_BYTES = 4 * MB  # less than this may not take a transaction of each process
_DISK = (errno.EIO, errno.EROFS)
_UNABLE = (errno.EOPNOTSUPP, errno.EINVAL)  # a file system that cannot set blocks aside
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def free(folder: Path) -> int:
    """Bytes that we may still use where `folder` is."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def release_if_short(state: Path) -> None:
    """Give up the reserve if the disk is all but full. Asked at each transaction: 2 µs."""
    if free(state) < SHORT_BYTES:
        reserve(state).unlink(missing_ok=True)


@contextlib.contextmanager
def refused(what: Path | str) -> Iterator[None]:
    """A disk that is full or fails, as an error of ours; other faults are not the disk's."""
    try:
        yield
    except OSError as error:
        where = error.filename or what
        if is_full(error):
            raise NoSpaceError(f"{where}: the disk is full. Make room") from error
        if error.errno in _DISK:
            raise StorageError(f"{where}: {error.strerror}: check the disk") from error
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    layout: Layout
    floor: int  # bytes that must be free before anything is begun

    def lacking(self) -> str:
        """Why nothing may be begun; "" while there is room."""
        for folder, holds in (
            (self.layout.workspaces, "workspaces"),
            (self.layout.state, "fleet's state"),
        ):
            left = free(folder)
            if left < self.floor:
                return (
                    f"only {left // MB:,} MB are free for {holds} in {folder}, and "
                    f"{self.floor // MB:,} MB must be ([workspace] min_free_mb): make room"
                )
        return ""

    def keep_reserve(self) -> None:
        """Set it aside if it is not, and there is room for it."""
        path = reserve(self.layout.state)
        if path.exists() or free(self.layout.state) < max(self.floor, 2 * RESERVE_BYTES):
            return
        try:
            fd = os.open(path, _MAKE, 0o600)
        except FileExistsError:
            return  # another process has just done it
        except OSError as error:
            if is_full(error):
                return
            raise
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError as error:
            path.unlink(missing_ok=True)
            if not is_full(error) and error.errno not in _UNABLE:
                raise StorageError(f"{path}: {error.strerror}: check the disk") from error
        finally:
            os.close(fd)

    def drop_reserve(self) -> None:
        reserve(self.layout.state).unlink(missing_ok=True)
