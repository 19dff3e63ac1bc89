"""A token bucket as one number: the time at which it will be full again.

This is GCRA, the generic cell rate algorithm (ITU-T I.371, annex A): no timer refills anything,
and a bucket that nobody asks costs nothing.
"""

from __future__ import annotations

import math


class Bucket:
    """Holds a minute's worth, and refills evenly. May be in debt: usage is known afterwards."""

    __slots__ = ("_depth_s", "_full_at", "_spacing_s", "per_minute")

    def __init__(self, per_minute: float) -> None:
        self._full_at = -math.inf
        self.set_rate(per_minute)

    def set_rate(self, per_minute: float) -> None:
        """What is owed in time stays owed."""
        self.per_minute = per_minute
        self._spacing_s = 60.0 / per_minute
        self._depth_s = 60.0

    def take(self, cost: float, now: float) -> bool:
        """True: taken. More than the bucket holds is given when it is full, and owed then."""
        full_at = self._full_at
        if full_at < now:
            full_at = now
        needs = cost * self._spacing_s
        if full_at + needs - now > self._depth_s and full_at > now:
            return False
        self._full_at = full_at + needs
        return True

    def ready_at(self, cost: float, now: float) -> float:
        """When `take` will say yes, if nobody else takes anything; `now` if at once."""
        needs = cost * self._spacing_s
        if needs > self._depth_s:
            needs = self._depth_s
        at = self._full_at + needs - self._depth_s
        return at if at > now else now

    def charge(self, cost: float, now: float) -> None:
        """Used already, whatever is left. A negative cost is given back."""
        full_at = self._full_at if self._full_at > now else now
        self._full_at = full_at + cost * self._spacing_s

    def level(self, now: float) -> float:
        """How much there is; below 0 it is owed."""
        owed_s = max(0.0, self._full_at - now)
        return (self._depth_s - owed_s) / self._spacing_s

    def at_most(self, level: float, now: float) -> None:
        """Somebody who must know says that no more is left."""
        self._full_at = max(self._full_at, now + self._depth_s - level * self._spacing_s)

    def saturation(self, now: float) -> float:
        """The part that is used, 0 to 1."""
        return min(1.0, max(0.0, self._full_at - now) / self._depth_s)
