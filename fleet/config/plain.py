"""Reading the files and names a person wrote, without being led elsewhere by them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from fleet.core.errors import Problem
from fleet.core.toml import MAX_BYTES

LONGEST_GLOB = 1_000
_PLAIN = "put a plain file that you may read there, or remove it"


def wrong_glob(glob: str) -> str:
    """What is the matter with a path or glob of this repository; "" if nothing is."""
    if len(glob) > LONGEST_GLOB:
        return "is longer than a path of this repository can be"
    if glob.startswith(("/", "~")):
        return "is not relative to the repository"
    if ".." in glob.split("/"):
        return "leaves the repository"
    if glob.strip("/. ") == "":
        return "names no path"
    return "" if glob.isprintable() else "has characters that cannot be printed"


def read_plain(path: Path | str, name: str, *, folder: int | None = None) -> bytes | Problem:
    """The bytes of a regular file, at most one more than are allowed; never through a link, and
    without waiting for the writer of a FIFO."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Problem(where=name, what="this is a symbolic link", fix=_PLAIN)
        return Problem(where=name, what=f"cannot be read: {error.strerror}", fix=_PLAIN)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Problem(where=name, what="this is not a regular file", fix=_PLAIN)
        return _read(fd)
    except OSError as error:
        return Problem(where=name, what=f"cannot be read: {error.strerror}", fix=_PLAIN)
    finally:
        os.close(fd)


def _read(fd: int) -> bytes:
    parts = []
    left = MAX_BYTES + 1
    while left and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
