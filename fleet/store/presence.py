"""Who has the database open, as a lock that the kernel frees with its holder.

Everybody who may write shares it; whoever replaces the file must have it alone, so that no lander
or worker goes on by what a file says that is no longer the ledger's. It orders opening and
replacing, and says nothing about who works on which task: that is `claims`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.core.errors import StorageError
from fleet.process.kernel import pause

POLL_S = 0.02
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Presence:
    """Ours, until we leave or die."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, _OPEN, 0o600)
        except OSError as error:
            raise StorageError(f"{path}: cannot be locked: {error.strerror}") from error

    def share(self, *, timeout_s: float) -> bool:
        """Be there with others; False if somebody had it alone all the time."""
        return self._lock(fcntl.LOCK_SH, timeout_s)

    def withdraw(self) -> None:
        """Not there any more, until we share it again."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def leave(self) -> None:
        """For good. Also safe twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def alone(self, *, timeout_s: float) -> Iterator[bool]:
        """With nobody else there; False if somebody still was. Not there at all afterwards."""
        self.withdraw()
        try:
            yield self._lock(fcntl.LOCK_EX, timeout_s)
        finally:
            self.withdraw()

    def _lock(self, how: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(self._fd, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                pause(POLL_S)
            else:
                return True
