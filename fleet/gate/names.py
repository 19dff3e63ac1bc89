"""Names of paths that are one thing here and another elsewhere. Pure.

Git refuses the worst of them where it can (`core.protectHFS`, `core.protectNTFS`, fsck); this is
for what reaches a tree all the same, and for what git lets pass.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

MAX_TARGET_BYTES = 4096
_SHORT = re.compile(r"git~\d+|gi[0-9a-f]{4}~\d+", re.IGNORECASE)  # DOS names of `.git`
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_gits(path: str) -> bool:
    """Whether some file system takes a part of it for `.git`: folded case, characters that do
    not count, trailing dots and spaces, a stream, a backslash for a slash, a short name."""
    return any(_is_dot_git(part) for part in re.split(r"[/\\]", path))


def odd(path: str) -> str:
    """What is odd about a name; "" when nothing is."""
    if any(unicodedata.category(char) == "Cc" or char in _BIDI for char in path):
        return "a control character"
    if any("\ud800" <= char <= "\udfff" for char in path):
        return "bytes that are no UTF-8"
    if "\\" in path or ":" in path:
        return "a backslash or a colon, which mean something else on Windows"
    return ""


def shown(path: str) -> str:
    """A name as it can be printed, whatever is in it."""
    return path if path.isprintable() else repr(path)


def leads_astray(path: str, target: str) -> bool:
    """Whether a symbolic link leads out of the repository, or into its `.git`.

    Going up is safe only at the start, through the folders the link is in: what a name on the way
    leads to may be another link, and up from there anywhere.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    names = [part for part in parts if part != ".."]
    ups = len(parts) - len(names)
    return (
        not target
        or target.startswith("/")
        or len(target.encode("utf-8", "surrogateescape")) > MAX_TARGET_BYTES
        or parts[ups:] != names
        or ups > path.count("/")
        or is_gits(target)
    )


def clashes(added: Sequence[str], others: Iterable[str]) -> list[str]:
    """Paths, and folders above them, that are one on a file system that folds case or form."""
    if not added:
        return []
    seen: dict[str, str] = {}
    for place in {place for path in others for place in _places(path)}:
        seen.setdefault(_folded(place), place)
    found = []
    for path in added:
        for place in _places(path):
            other = seen.setdefault(_folded(place), place)
            if other != place:
                found.append(f"{shown(place)} and {shown(other)} differ only in case or form")
    return list(dict.fromkeys(found))


def _places(path: str) -> Iterator[str]:
    """A path and the folders above it."""
    while path:
        yield path
        path = posixpath.dirname(path)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _is_dot_git(part: str) -> bool:
    visible = "".join(c for c in part if unicodedata.category(c) != "Cf")
    plain = visible.partition(":")[0].rstrip(". ").lower()
    return plain == ".git" or _SHORT.fullmatch(plain) is not None
