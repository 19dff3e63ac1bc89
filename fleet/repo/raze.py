"""Removing a folder that an agent or its tests have filled, whatever they did to it.

`shutil.rmtree` recurses, and a thousand folders inside each other are the end of it. Here each
folder is brought up to the top before it is looked into, so neither depth nor the length of a
path matters. No link is followed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path


def raze(at: Path) -> bool:
    """Whether it is gone. What cannot be removed, as something still writes there, stays."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(at, ignore_errors=True)
    if os.path.lexists(at):
        with contextlib.suppress(OSError):
            _empty(at)
            at.rmdir()
    return not os.path.lexists(at)


def _empty(top: Path) -> None:
    top.chmod(0o700)
    stuck: set[Path] = set()
    while folders := [folder for folder in _sweep(top) if folder not in stuck]:
        for folder in folders:
            try:
                folder.chmod(0o700)
                for below in _sweep(folder):
                    below.chmod(0o700)  # to be moved, it has to be ours to write
                    below.rename(top / secrets.token_hex(8))
                folder.rmdir()
            except OSError:
                stuck.add(folder)


def _sweep(folder: Path) -> list[Path]:
    """Remove its files; its folders are returned."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            else:
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()
    return folders
