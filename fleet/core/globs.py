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
    """What stands between two wild cards is looked for once, where it stands first: whatever
    follows fits from there if it fits at all. So nothing is tried again and again."""
    out = []
    chunks = _chunks(_parts(glob))
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        text = "/".join(map(_segment, chunk))
        if not number:
            out.append(text + ("(?:/.*)?" if last else "/" if chunk else ""))
        elif not last:
            out.append(f"(?>(?:[^/]+/)*?{text}/)")
        else:
            out.append(f"(?:[^/]+/)*?{text}(?:/.*)?" if chunk else ".*")
    return re.compile("".join(out), re.DOTALL)


def _chunks(parts: tuple[str, ...]) -> list[list[str]]:
    """What stands between `**`s; only the first and the last may be empty."""
    chunks: list[list[str]] = [[]]
    for part in parts:
        if part != "**":
            chunks[-1].append(part)
        elif len(chunks) == 1 or chunks[-1]:
            chunks.append([])
    return chunks


def _segment(part: str) -> str:
    first, *rest = (_literal(text) for text in re.split(r"\*+", part))
    if not rest:
        return first
    middle = "".join(f"(?>[^/]*?{text})" for text in rest[:-1])
    return f"{first}{middle}[^/]*{rest[-1]}"


def _literal(text: str) -> str:
    return "".join("[^/]" if char == "?" else re.escape(char) for char in text)


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
