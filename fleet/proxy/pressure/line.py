"""The line of calls that wait: who goes next.

Three rules, in this order. Urgency: four levels, and a call rises one for every `AGING_S` that it
is its agent's next, so that nobody waits for ever behind those who are more urgent, and nobody
gains by asking for more. Fairness: among equals the agent goes first that has had least, by its
weight (start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996). Age: of one agent's calls the
oldest.

So a call is served at the latest `3 * AGING_S` after it has become its agent's next, and after
every other agent has had its turns: one for each that the lightest weight is of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fleet.proxy.stage import Priority

AGING_S = 15.0
WEIGHTS = (8.0, 4.0, 2.0, 1.0)  # by level: what an agent's share is measured by
CAPACITY = 1024
BYTES = 256 << 20
REMEMBERED = 4096  # agents; those that had least are forgotten first, which costs them nothing

Item = TypeVar("Item")


@dataclass(eq=False, slots=True)
class Waiting(Generic[Item]):
    item: Item
    agent: str
    level: Priority
    since: float
    cost: float  # what it will have had of the upstream, in any one unit
    size: int  # bytes of its body
    next_since: float = math.inf  # when it was first seen to be the next of its agent and level


@dataclass(slots=True)
class _Agent(Generic[Item]):
    lines: tuple[OrderedDict[Waiting[Item], None], ...] = field(
        default_factory=lambda: tuple(OrderedDict() for _ in Priority)
    )

    @property
    def is_empty(self) -> bool:
        return not any(self.lines)


class Line(Generic[Item]):
    def __init__(self, *, capacity: int = CAPACITY, most_bytes: int = BYTES) -> None:
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._agents: dict[str, _Agent[Item]] = {}
        self._served: OrderedDict[str, float] = OrderedDict()  # virtual finish times
        self._virtual = 0.0
        self.bytes = 0
        self.length = 0

    def __len__(self) -> int:
        return self.length

    def served(self, agent: str, cost: float, level: Priority) -> None:
        """It has had so much, waiting or not."""
        start = max(self._virtual, self._served.get(agent, 0.0))
        self._served[agent] = start + cost / WEIGHTS[level]
        self._served.move_to_end(agent)
        if len(self._served) > REMEMBERED:
            self._served.popitem(last=False)

    def push(self, waiting: Waiting[Item]) -> list[Waiting[Item]]:
        """Those who have to leave for it, perhaps itself: the least urgent, youngest first."""
        agent = self._agents.get(waiting.agent)
        if agent is None:
            agent = self._agents[waiting.agent] = _Agent()
        line = agent.lines[waiting.level]
        line[waiting] = None
        if len(line) == 1:
            waiting.next_since = min(waiting.next_since, waiting.since)
        self.bytes += waiting.size
        self.length += 1
        shed: list[Waiting[Item]] = []
        while self.length > self._capacity or self.bytes > self._most_bytes:
            shed.append(self._least())
            self.remove(shed[-1])
        return shed

    def remove(self, waiting: Waiting[Item]) -> bool:
        """False: it did not wait here."""
        agent = self._agents.get(waiting.agent)
        if agent is None or waiting not in agent.lines[waiting.level]:
            return False
        del agent.lines[waiting.level][waiting]
        self.bytes -= waiting.size
        self.length -= 1
        if agent.is_empty:
            del self._agents[waiting.agent]
        return True

    def lift(self, waiting: Waiting[Item], level: Priority) -> None:
        """Somebody more urgent waits for it, too. It keeps its age."""
        if level >= waiting.level or not self.remove(waiting):
            return
        waiting.level = level
        self.push(waiting)

    def first(self, now: float, without: frozenset[str] = frozenset()) -> Waiting[Item] | None:
        """Who goes next, but for some agents; still in line until it is removed."""
        best: Waiting[Item] | None = None
        best_rank = (9, 0.0, 0.0)
        for name, agent in self._agents.items():
            if name in without:
                continue
            tag = max(self._virtual, self._served.get(name, 0.0))
            for line in agent.lines:
                if line:
                    head = next(iter(line))
                    head.next_since = min(head.next_since, now)
                    rank = (_level(head, now), tag, head.since)
                    if best is None or rank < best_rank:
                        best, best_rank = head, rank
        return best

    def went(self, waiting: Waiting[Item]) -> None:
        """Out of the line, and on its way."""
        if self.remove(waiting):
            tag = max(self._virtual, self._served.get(waiting.agent, 0.0))
            self._virtual = tag
            self.served(waiting.agent, waiting.cost, waiting.level)

    def all(self) -> list[Waiting[Item]]:
        return [
            waiting for agent in self._agents.values() for line in agent.lines for waiting in line
        ]

    def _least(self) -> Waiting[Item]:
        return max(self.all(), key=lambda waiting: (waiting.level, waiting.since))


def _level(waiting: Waiting[Item], now: float) -> int:
    return max(0, waiting.level - int((now - waiting.next_since) / AGING_S))
