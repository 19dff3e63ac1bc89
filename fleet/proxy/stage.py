"""The rooms a request walks through: each has so many places, and a line before it.

A freed place goes to who waits with the highest priority, first come first among equals, before
`leave` returns: as long as anybody waits, the room is full. Only the front door bounds its line and
turns people away; the lines of the other rooms are bounded by the rooms before them.

Pure: `now` is passed in. `go` and `shed` are told, not run: they should wake somebody and return,
and never enter, leave or give up themselves.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum

BOUNDS_S = (
    *(0.0001, 0.001, 0.005, 0.02, 0.1, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)  # upper ends of the buckets of a histogram; one more holds the rest

_LOOK_BACK_S = 10.0  # a pace is that of so many seconds
_LEAST_RETRY_S, _MOST_RETRY_S, _RETRY_JITTER = 1.0, 60.0, 0.2

Told = Callable[[], None]


class Priority(IntEnum):
    """Lower goes first, and is turned away last."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


class Times:
    """How long something took: a histogram and a sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def record(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total += seconds


class _Waiting:
    __slots__ = ("shed", "since")

    def __init__(self, since: float, shed: Told | None) -> None:
        self.since = since
        self.shed = shed


class Room:
    """A stage. Nobody is ever turned away from it."""

    __slots__ = (
        "_lines",
        "_next_mark",
        "_pace",
        "capacity",
        "high_water",
        "name",
        "occupancy",
        "shed",
        "waiting",
        "waits",
        "work",
    )

    def __init__(self, name: str, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"room {name} needs a place at least, not {capacity}")
        self.name = name
        self.capacity = capacity
        self.occupancy = 0
        self.high_water = 0
        self.shed = 0
        self.waiting = 0
        self.waits = Times()  # of those who had to; the others waited for nothing
        self.work = Times()
        self._lines = tuple(OrderedDict[Told, _Waiting]() for _ in Priority)
        self._pace: deque[tuple[float, int]] = deque()  # when, how many had left by then
        self._next_mark = float("-inf")

    @property
    def left(self) -> int:
        return self.work.count

    @property
    def entered(self) -> int:
        return self.left + self.occupancy

    def enter(self, priority: Priority, now: float, go: Told, shed: Told | None = None) -> bool:
        """True: entered. False: waits until `go` is called (or `shed`, perhaps before this
        returns, at a door). `go` is also the ticket to give up with: nobody else's may equal it."""
        occupancy = self.occupancy
        if occupancy < self.capacity:
            self.occupancy = occupancy = occupancy + 1
            if occupancy > self.high_water:
                self.high_water = occupancy
            return True
        self._line_up(priority, now, go, shed)
        return False

    def _line_up(self, priority: Priority, now: float, go: Told, shed: Told | None) -> None:
        self._mark(now)
        self._lines[priority][go] = _Waiting(now, shed)
        self.waiting += 1

    def leave(self, entered_at: float, now: float) -> None:
        seconds = now - entered_at
        work = self.work
        work.counts[bisect_left(BOUNDS_S, seconds)] += 1  # `record`, without the call
        work.total += seconds
        if now >= self._next_mark:
            self._mark(now)
        if self.waiting:
            self._let_in(now)
        else:
            self.occupancy -= 1

    def _let_in(self, now: float) -> None:
        line = next(line for line in self._lines if line)
        go, found = line.popitem(last=False)
        self.waiting -= 1
        self.waits.record(now - found.since)
        go()

    def give_up(self, go: Told) -> bool:
        """False: it does not wait any more. If `go` was called, the place is its own to leave."""
        for line in self._lines:
            if line.pop(go, None) is not None:
                self.waiting -= 1
                return True
        return False

    def _mark(self, now: float) -> None:
        """Notes how many have left, once a second at most."""
        if now < self._next_mark:
            return
        self._next_mark = now + 1.0
        self._pace.append((now, self.left))
        while self._pace[0][0] < now - _LOOK_BACK_S:
            self._pace.popleft()

    def retry_after_s(self, now: float, rng: random.Random) -> int:
        """When a place is likely: at the pace of the last seconds, for all who wait and one more.
        Where nobody left lately, as if one just had."""
        so_far = self.left
        since, before = now - 1.0, so_far
        for at, count in self._pace:
            if at >= now - _LOOK_BACK_S:
                since, before = min(at, since), count
                break
        pace = max(so_far - before, 1) / (now - since)
        seconds = min(max((self.waiting + 1) / pace, _LEAST_RETRY_S), _MOST_RETRY_S)
        jittered = seconds * rng.uniform(1 - _RETRY_JITTER, 1 + _RETRY_JITTER)
        return round(min(max(jittered, _LEAST_RETRY_S), _MOST_RETRY_S))


class Door(Room):
    """The first room: its line is bounded, and who matters least is turned away."""

    __slots__ = ("line",)

    def __init__(self, name: str, capacity: int, line: int) -> None:
        super().__init__(name, capacity)
        self.line = line

    def _line_up(self, priority: Priority, now: float, go: Told, shed: Told | None) -> None:
        super()._line_up(priority, now, go, shed)
        if self.waiting > self.line:
            self._turn_away()

    def _turn_away(self) -> None:
        """The last of those with the lowest priority: the newcomer, or one who gives way."""
        line = next(line for line in reversed(self._lines) if line)
        _, found = line.popitem(last=True)
        self.waiting -= 1
        self.shed += 1
        if found.shed is not None:
            found.shed()
