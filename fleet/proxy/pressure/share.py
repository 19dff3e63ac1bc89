"""Who has had more than a fair part lately.

Below `FREE_BELOW` of what an upstream bears everybody may take what there is. Above, what is left
is for those below their share, so that a newcomer finds room at once; an agent alone is never
above its share.
"""

from __future__ import annotations

import math

FREE_BELOW = 0.8
HALF_LIFE_S = 30.0
ACTIVE_S = 10.0  # without a call: it is not counted among those who share
SLACK = 1.25  # above its share by so much, before it waits
REMEMBERED = 4096


class Shares:
    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used: dict[str, tuple[float, float]] = {}  # decayed cost by weight, when

    def used(self, agent: str, cost: float, now: float) -> None:
        """`cost` is divided by the agent's weight already."""
        if agent not in self._used and len(self._used) >= REMEMBERED:
            self._used = {name: used for name, used in self._used.items() if used[1] > now - 60}
        self._used[agent] = self._of(agent, now) + cost, now

    def is_over(self, agent: str, now: float) -> bool:
        active = [name for name, (_, at) in self._used.items() if at >= now - ACTIVE_S]
        if agent not in active or len(active) < 2:
            return False
        total = math.fsum(self._of(name, now) for name in active)
        return self._of(agent, now) * len(active) > SLACK * total

    def _of(self, agent: str, now: float) -> float:
        cost, at = self._used.get(agent, (0.0, now))
        return float(cost * 0.5 ** ((now - at) / HALF_LIFE_S))
