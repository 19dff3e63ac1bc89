"""Comments that silence a check, counted: a change may not add any unless it is allowed to.

In total over the files of a difference, kind by kind, so that moving code is no addition. Only
comments count, not texts that mention them.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SHOWN = 5
_KINDS = (
    "noqa",
    r"ruff\s*:\s*(?:noqa|ignore|disable)",
    r"flake8\s*[:=]\s*noqa",
    r"type\s*:\s*ignore",
    r"mypy\s*:",
    r"pyright\s*:",
    r"pyre-(?:ignore|fixme|strict|unsafe)",
    r"ty\s*:\s*ignore",
    r"pragma\s*:\s*no[\s-]?(?:cover|branch)",
    r"pylint\s*:\s*(?:disable|skip)",
    "nosec",
    "nosemgrep",
    "isort\\s*:\\s*skip",
    r"fmt\s*:\s*(?:off|skip)",
    r"bandit\s*:\s*skip",
)
_SUPPRESSION = re.compile(rf"#\s*({'|'.join(_KINDS)})", re.IGNORECASE)
_LINE = re.compile(r"#.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    kind: str
    line: int


def find(text: str) -> tuple[Suppression, ...]:
    """The suppressions in the comments of one Python file."""
    return tuple(
        Suppression(kind=re.sub(r"\s", "", found[1]).lower(), line=line)
        for line, comment in _comments(text)
        for found in _SUPPRESSION.finditer(comment)
    )


def added(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What there is more of in the files of a change than in their base versions, as a sentence;
    "" when there is no more of any kind."""
    was = {path: find(text) for path, text in before.items()}
    now = {path: find(text) for path, text in after.items()}
    surplus = _count(now) - _count(was)
    places = [
        f"{path}:{found.line} (# {found.kind})"
        for path, all_found in sorted(now.items())
        for found in _surplus_of(all_found, was.get(path, ()))
        if surplus[found.kind] > 0
    ]
    if not places:
        return ""
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"it silences checks: {', '.join(places[:SHOWN])}{more}"


def _count(files: Mapping[str, tuple[Suppression, ...]]) -> Counter[str]:
    return Counter(found.kind for all_found in files.values() for found in all_found)


def _surplus_of(
    now: tuple[Suppression, ...], was: tuple[Suppression, ...]
) -> Iterator[Suppression]:
    """Of each kind that a file has more of than before, all: which one is new, nobody knows."""
    grown = Counter(found.kind for found in now) - Counter(found.kind for found in was)
    yield from (found for found in now if grown[found.kind] > 0)


def _comments(text: str) -> list[tuple[int, str]]:
    try:
        return [
            (token.start[0], token.string)
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        ]
    except (tokenize.TokenError, SyntaxError, ValueError):
        # No Python of ours, or none at all: what looks like a comment is one.
        lines = enumerate(text.splitlines(), 1)
        return [(number, found[0]) for number, line in lines if (found := _LINE.search(line))]
