"""What of a checkout changed while a check ran: sources, and all that belongs to tests, are
looked at before it and after it.

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
SKIPPED = frozenset({".venv", "venv", "node_modules", ".tox", ".nox", "__pycache__"})
LARGEST = 1_000_000  # bytes that are read; of a larger file only its size and times are known


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    digest: bytes
    inode: tuple[int, int]  # its number, and when it was last changed


def look(checkout: Path) -> Mapping[str, Source]:
    """The sources of a checkout, by path."""
    return {path: source for path in _paths(checkout) if (source := _source(checkout / path))}


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
    return now.inode != then.inode and path.endswith(".py") and is_test_file(path)


def _decides(path: str) -> bool:
    name = os.path.basename(path)  # noqa: PTH119 - a name of a tree, no place
    return name in CONFIGURES or (name.endswith((".toml", ".cfg", ".ini")) and os.sep not in path)


def _paths(checkout: Path) -> Iterator[str]:
    for folder, inner, names in os.walk(checkout):
        inner[:] = [name for name in inner if name not in SKIPPED]
        place = "" if folder == str(checkout) else os.path.relpath(folder, checkout) + os.sep
        for name in names:
            path = place + name
            if name.endswith(SUFFIXES) or is_test_file(path):
                yield path


def _source(path: Path) -> Source | None:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return None
        inode = (status.st_ino, status.st_ctime_ns)
        if status.st_size > LARGEST:
            return Source(digest=repr((status.st_size, inode)).encode(), inode=inode)
        content = path.read_bytes()
    except OSError:
        return None
    return Source(digest=hashlib.blake2b(content, digest_size=16).digest(), inode=inode)
