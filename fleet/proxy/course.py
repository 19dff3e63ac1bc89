"""One logical request's way through limits, retries and failover, from its first try to its last.

Values only: `dispatch` moves them.
"""

from __future__ import annotations

import math
from typing import Protocol

from fleet.proxy.flight import Flight
from fleet.proxy.pressure.lane import Lane
from fleet.proxy.pressure.line import Line, Waiting
from fleet.proxy.pressure.need import NOTHING, Need


class Timer(Protocol):
    def cancel(self) -> None: ...


class Pool:
    """Those who may go by the same lanes, in one line."""

    __slots__ = ("line", "next_at", "timer")

    def __init__(self) -> None:
        self.line: Line[Course] = Line()
        self.timer: Timer | None = None
        self.next_at = math.inf


class Course:
    __slots__ = (
        "began",
        "closed",
        "flight",
        "gives_way",
        "is_forgiven",
        "lane",
        "lanes",
        "need",
        "next_at",
        "pool",
        "probe",
        "sent_at",
        "size",
        "timer",
        "tries",
        "waiting",
        "way",
    )

    def __init__(self, flight: Flight, lanes: tuple[Lane, ...], size: int, now: float) -> None:
        self.flight = flight
        self.lanes = lanes  # one a route of the plan it began with, in the same order
        self.way = 0  # the route it goes by
        self.closed: frozenset[int] = frozenset()  # routes that cannot answer this one
        self.size = size  # bytes of the body
        self.began = now
        self.tries = 0  # that failed through the upstream's fault
        self.is_forgiven = False  # a stale connection has been, once
        self.gives_way = False  # a lane is open, but little is left, and its agent had much
        self.next_at = now  # when it may go, as far as is known

        # In line, or asleep until a time, or neither: then a lane is taken, or it is being paid.
        self.pool: Pool | None = None
        self.waiting: Waiting[Course] | None = None
        self.timer: Timer | None = None

        self.lane: Lane | None = None  # taken
        self.need: Need = NOTHING
        self.probe = 0  # for the lane's breaker
        self.sent_at = -math.inf

    @property
    def agent(self) -> str:
        return self.flight.caller.key

    def ways(self) -> list[int]:
        """Those that are left, the best first."""
        return [way for way in range(len(self.lanes)) if way not in self.closed]
