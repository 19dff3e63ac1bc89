"""What an agent tells of its own work. Never proof of anything: the diff and the gate are. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.usage import NOTHING, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """As far as it was told; an agent that says nothing leaves everything empty."""

    session: str = ""  # with which its CLI can go on; "" when it has named none
    model: str = ""
    turns: int = 0  # answers of the model that the agent acted on
    tool_calls: int = 0
    usage: Usage = NOTHING
    cost_usd: float | None = None  # by the agent's own prices; None when it does not say
    ended: bool = False  # it told that it was done, well or badly
    error: str = ""  # what it gave up for, in its own words
    said: str = ""  # its last words
