"""What a check reports while it runs, by a named pipe: what was said once cannot be taken back.

A file could be written anew by whoever runs beside the reporter, after the fact. A pipe is read by
us as it comes; its writer waits while it is full, so `pull` must be called now and then.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE = 1 << 16
ROOM = 1 << 20  # what fits into the pipe between two pulls; more than a process may ask for is less
LONGEST = 256_000_000  # bytes; a report of a million tests is shorter
_F_SETPIPE_SZ = 1031


class Tape:
    """Made before its writer starts; read when that one is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._pieces: list[bytes] = []
        self._length = 0

    def __enter__(self) -> Self:
        os.mkfifo(self.path, 0o600)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):
            fcntl.fcntl(self._fd, _F_SETPIPE_SZ, ROOM)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def pull(self) -> None:
        """Take what is there now."""
        while True:
            try:
                piece = os.read(self._fd, PIECE)
            except BlockingIOError:
                return
            if not piece:
                return
            self._length += len(piece)
            if self._length <= LONGEST:
                self._pieces.append(piece)

    def text(self) -> bytes:
        self.pull()
        return b"".join(self._pieces)
