"""What the user tells an agent at work. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Via(StrEnum):
    """How a note reaches its agent."""

    PROXY = "proxy"  # within what it next asks its model
    STDIN = "stdin"  # as a message on its stdin


@dataclass(frozen=True, slots=True)
class Note:
    """Of one attempt. `seq` counts from 1."""

    seq: int
    text: str
