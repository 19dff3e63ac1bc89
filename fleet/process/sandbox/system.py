"""What of the machine every confined program sees, for reading: its programs, not its people.

The system's own folders, and of everything else only the installations that PATH leads into. A
home folder is never shown, nor anything that holds one of the folders named private.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

FOLDERS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "snap")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm")
RESOLVER = Path("/run/systemd/resolve")  # where /etc/resolv.conf often points
# Beneath a home, beside programs, these hold logins and keys: only their `bin` is shown.
CLOSED = frozenset({".local", ".cargo", ".config", ".npm", ".docker", ".ssh", ".gnupg"})
BASE_PYTHON = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def folders() -> list[Path]:
    """The system's folders that are there, links among them."""
    return [path for name in FOLDERS if os.path.lexists(path := Path("/", name))]


def installations(
    search: str, programs: Iterable[Path], private: Iterable[Path]
) -> tuple[Path, ...]:
    """What is to be shown besides, so that all of PATH and these programs can run."""
    closed = [path.absolute() for path in private]
    found: dict[Path, None] = {}
    for place in _places(search, programs):
        root = _root(place, closed)
        if root is not None and not any(_within(root, folder) for folder in folders()):
            found.setdefault(root)
    return tuple(root for root in found if not any(_within(root, o) for o in found if o != root))


def _places(search: str, programs: Iterable[Path]) -> Iterator[Path]:
    """Folders with programs in them, those that links lead to included."""
    for program in programs:
        yield from (program.parent, program.resolve().parent)
    for entry in search.split(os.pathsep):
        folder = Path(entry)
        if folder.is_absolute() and folder.is_dir():
            yield folder
            if folder.parent.name in CLOSED:
                yield from _targets(folder)


def _targets(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        links = [Path(entry.path) for entry in entries if entry.is_symlink()]
    for link in links:
        target = Path(os.path.realpath(link))
        if target.exists():
            yield target.parent


def _root(place: Path, private: Sequence[Path]) -> Path | None:
    """The installation a folder of programs belongs to, or the folder alone; None if that is
    still more than may be shown."""
    return next((p for p in (place.parent, place) if not holds_any(p, private)), None)


def holds_any(place: Path, private: Iterable[Path]) -> bool:
    """Whether a place is, or holds, what may not be shown as a whole."""
    top = len(place.parts) < 2 or place.name in CLOSED
    return top or any(_within(path, place) for path in private)


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
