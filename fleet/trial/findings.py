"""What a trial has seen of an agent, and what follows from it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """What an agent must or may be able to do in a fleet."""

    PROGRAM = "program"  # it is there, and says its version
    TOOLS = "tools"  # a real edit by a tool call of the model's lands
    STREAM = "stream"  # it asks for streams
    PREFIX = "prefix"  # what comes first in its requests is the same in every workspace
    KILL = "kill"  # killed in the middle of a tool, nothing of it goes on
    RESUME = "resume"  # it takes up its session after that
    STEER = "steer"  # a note reaches it


class Verdict(StrEnum):
    WORKS = "works"
    FAILS = "fails"  # what a fleet relies on is not so
    ABSENT = "absent"  # it cannot, and need not
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    part: Part
    verdict: Verdict
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One that the agent made, as it went to its model."""

    method: str
    target: str
    body: bytes
    streamed: bool  # the answer

    @property
    def shown(self) -> str:
        tools = self.members.get("tools")
        offered = f", {len(tools)} tools" if isinstance(tools, list) and tools else ""
        form = "stream" if self.streamed else "JSON"
        return f"{self.method} {self.target} {len(self.body):,} bytes{offered} -> {form}"

    @property
    def members(self) -> dict[str, object]:
        try:
            read = json.loads(self.body)
        except ValueError:
            return {}
        return read if isinstance(read, dict) else {}


# What each interface puts first: a provider's prompt cache begins with these.
FIRST = ("system", "tools", "instructions", "systemInstruction")


def of_streams(requests: Sequence[Request]) -> Finding:
    asked = [request for request in requests if request.method == "POST"]
    streamed = sum(request.streamed for request in asked)
    verdict = Verdict.WORKS if streamed else Verdict.ABSENT
    return Finding(
        part=Part.STREAM, verdict=verdict, what=f"{streamed} of {len(asked)} requests are streams"
    )


def of_prefix(one: Sequence[Request], two: Sequence[Request]) -> Finding:
    """Compares the first full requests of two attempts with the same text in two workspaces."""
    ours, theirs = _main(one), _main(two)
    if ours is None or theirs is None:
        return Finding(part=Part.PREFIX, verdict=Verdict.UNTRIED, what="no two requests to compare")
    differing = [name for name in FIRST if ours.members.get(name) != theirs.members.get(name)]
    same = _common(ours.body, theirs.body)
    if ours.body == theirs.body:
        what = f"whole requests are the same in two workspaces ({len(ours.body):,} bytes)"
    elif differing:
        what = f"{' and '.join(differing)} differ between two workspaces"
    else:
        what = (
            f"system and tools are the same in two workspaces, the first {same:,} of "
            f"{len(ours.body):,} bytes too"
        )
    return Finding(
        part=Part.PREFIX, verdict=Verdict.ABSENT if differing else Verdict.WORKS, what=what
    )


def _main(requests: Sequence[Request]) -> Request | None:
    """The longest of the first attempt's: titles and probes are short."""
    return max((r for r in requests if r.method == "POST"), key=lambda r: len(r.body), default=None)


def _common(one: bytes, two: bytes) -> int:
    for at, (left, right) in enumerate(zip(one, two, strict=False)):
        if left != right:
            return at
    return min(len(one), len(two))
