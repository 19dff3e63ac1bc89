"""What a reader of one agent's format does, and what all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fleet.core.story import Story

Event = Mapping[str, object]
SHOWN_CHARS = 500  # of an agent's own words


class Reader(Protocol):
    """Takes events in their order. What it does not know it passes over: CLIs change."""

    def take(self, event: Event) -> None: ...

    @property
    def story(self) -> Story: ...


def obj(value: object) -> Event:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Event]:
    """The objects of a list, or none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def shown(value: object) -> str:
    """Words fit to be kept: short, in one line."""
    return " ".join(text(value).split())[:SHOWN_CHARS]


def count(value: object) -> int:
    """A number of tokens or turns; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def money(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        return None
    return float(value)
