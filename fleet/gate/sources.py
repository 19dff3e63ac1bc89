"""What of a checkout changed while a check ran: sources are looked at before it and after it.

By us, from outside, when all that the check started is gone: nothing that ran can hide it. The
times of a file cannot be trusted (they can be set), but for the one of its inode.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.gate.checks import is_test_file

SUFFIXES = (".py", ".pyi", ".toml", ".cfg", ".ini")
CONFIGURES = frozenset({"conftest.py", "sitecustomize.py", "usercustomize.py"})
SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", ".tox", ".nox"})
LARGEST = 2_000_000  # bytes; what is larger was written by no person


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    digest: bytes
    inode: tuple[int, int]  # its number, and when it was last changed


def look(checkout: Path) -> Mapping[str, Source]:
    """The sources of a checkout, by path."""
    return {
        os.path.relpath(path, checkout): source
        for path in _paths(checkout)
        if (source := _source(path)) is not None
    }


def edited(before: Mapping[str, Source], after: Mapping[str, Source]) -> tuple[str, ...]:
    """Sources with another content than before, gone, or new and in a place where they decide.

    Of tests even one that was put back counts: it may have been another while it was read.
    """
    changed = [path for path in before if _differs(path, before[path], after.get(path))]
    planted = [path for path in after if path not in before and _decides(path)]
    return tuple(sorted((*changed, *planted)))


def _differs(path: str, then: Source, now: Source | None) -> bool:
    if now is None or now.digest != then.digest:
        return True
    return now.inode != then.inode and is_test_file(path)


def _decides(path: str) -> bool:
    name = os.path.basename(path)  # noqa: PTH119 - a name of a tree, no place
    return name in CONFIGURES or (not name.endswith((".py", ".pyi")) and os.sep not in path)


def _paths(checkout: Path) -> Iterator[str]:
    for folder, inner, names in os.walk(checkout):
        inner[:] = [name for name in inner if name not in SKIPPED]
        yield from (os.path.join(folder, name) for name in names if name.endswith(SUFFIXES))  # noqa: PTH118


def _source(path: str) -> Source | None:
    try:
        status = os.lstat(path)
        if status.st_size > LARGEST or not stat.S_ISREG(status.st_mode):
            return None
        with open(path, "rb") as file:  # noqa: PTH123 - thousands of them
            digest = hashlib.blake2b(file.read(), digest_size=16).digest()
    except OSError:
        return None
    return Source(digest=digest, inode=(status.st_ino, status.st_ctime_ns))
