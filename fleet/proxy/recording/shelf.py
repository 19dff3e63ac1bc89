"""The names of recordings in their folder: what was asked, and a number for each time it was."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"([0-9a-f]{32})-([0-9]{6})\.json")


def name(digest: str, number: int) -> str:
    return f"{digest}-{number:06}.json"


def places(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The recordings of each request, in the order they were made."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.iterdir():
        if parts := _NAME.fullmatch(path.name):
            found.setdefault(parts[1], []).append((int(parts[2]), path))
    return {key: tuple(path for _, path in sorted(kept)) for key, kept in sorted(found.items())}


def counts(folder: Path) -> dict[str, int]:
    """The last number of each request; a folder may be added to."""
    if not folder.is_dir():
        return {}
    highest: dict[str, int] = {}
    for path in folder.iterdir():
        if parts := _NAME.fullmatch(path.name):
            highest[parts[1]] = max(highest.get(parts[1], 0), int(parts[2]))
    return highest
