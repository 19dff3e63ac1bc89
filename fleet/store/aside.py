"""Folders and files that should last no longer than whoever made them.

A folder is named after the process that made it, so that what a killed one left can be told from
what is in use. Temporary files of `write_private` live for milliseconds: one that is old,
or that is there while nobody is at work, was left behind.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from fleet.process.identity import start_time
from fleet.store.layout import Layout

_MADE = re.compile(r"(?:gate|setup)-(?:(\d{1,10})\.(\d{1,20})-)?[0-9a-z_]+")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def make(beneath: Path, kind: str) -> Path:
    """A new folder of ours, private."""
    pid = os.getpid()
    folder = beneath / f"{kind}-{pid}.{start_time(pid) or 0}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    return folder


def abandoned(layout: Layout) -> Iterator[Path]:
    """Folders of gates and setups whose makers are dead."""
    for entry in _entries(layout.workspaces):
        found = _MADE.fullmatch(entry.name)
        if found and not (found[1] and start_time(int(found[1])) == int(found[2])):
            yield Path(entry.path)


def temporaries(layout: Layout, *, older_than_s: float = 0.0) -> Iterator[Path]:
    """Files that were being written, or still are, in the folders of fleet's state."""
    before = time.time() - older_than_s
    folders = [layout.state, layout.logs]
    folders += [Path(entry.path) for entry in _entries(layout.attempts)]
    for folder in folders:
        for entry in _entries(folder):
            if _TEMPORARY.fullmatch(entry.name) and _changed(entry) <= before:
                yield Path(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _changed(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return float("inf")  # it is gone
