"""Writing our own files: whole or not at all, private, never through a link."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from fleet.core.errors import NoSpaceError, StorageError
from fleet.store.sqlite import is_full


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` durably: temporary file, fsync, rename, fsync of the folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
        )
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if is_full(error):
            raise NoSpaceError(f"{path}: the disk is full: nothing was written") from error
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def write_within(root: Path, name: str, data: bytes) -> None:
    """`write_private` of a file beneath a folder that others write to: what leads out of it, or is
    in the way, is removed first."""
    place = root
    for part in Path(name).parts[:-1]:
        place /= part
        if place.is_symlink() or (os.path.lexists(place) and not place.is_dir()):
            place.unlink()
        place.mkdir(mode=0o700, exist_ok=True)
    target = root / name
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(target.lstat().st_mode):
            shutil.rmtree(target)
    write_private(target, data)
