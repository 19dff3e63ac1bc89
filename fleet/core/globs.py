"""Path globs, as in task `paths` and protected paths. Pure.

`*` and `?` stay inside one folder, `**` crosses folders, a trailing `/` or a bare folder name
takes in everything beneath it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def matches(path: str, globs: Iterable[str]) -> bool:
    """Whether any of the globs takes in this repository-relative path."""
    return any(_compiled(glob).fullmatch(path) for glob in globs)


def overlap(left: Iterable[str], right: Iterable[str]) -> bool:
    """Whether one path could match both sides. Errs on the side of yes; () is every path."""
    lefts, rights = tuple(left), tuple(right)
    if not lefts or not rights:
        return True
    return any(_meet(_parts(a), _parts(b)) for a in lefts for b in rights)


@lru_cache(maxsize=4096)
def _compiled(glob: str) -> re.Pattern[str]:
    out = []
    parts = _parts(glob)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            out.append(".*" if last else "(?:[^/]+/)*")
        else:
            out.append(_segment(part) + ("(?:/.*)?" if last else "/"))
    return re.compile("".join(out), re.DOTALL)


def _segment(part: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char) for char in part)


def _parts(glob: str) -> tuple[str, ...]:
    return tuple(part for part in glob.split("/") if part not in ("", "."))


def _meet(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    if not a or not b:
        return True  # one names a folder the other reaches into
    if a[0] == "**" or b[0] == "**":
        return True
    return _segments_meet(a[0], b[0]) and _meet(a[1:], b[1:])


def _segments_meet(a: str, b: str) -> bool:
    if not any(char in a + b for char in "*?"):
        return a == b
    if not any(char in b for char in "*?"):
        return re.fullmatch(_segment(a), b, re.DOTALL) is not None
    if not any(char in a for char in "*?"):
        return re.fullmatch(_segment(b), a, re.DOTALL) is not None
    # Two patterns: compare what is literal at both ends, and say yes to the rest.
    heads, tails = (_head(a), _head(b)), (_head(a[::-1]), _head(b[::-1]))
    return all(x.startswith(y) or y.startswith(x) for x, y in (heads, tails))


def _head(part: str) -> str:
    return re.split(r"[*?]", part, maxsplit=1)[0]
