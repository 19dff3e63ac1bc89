"""Answers kept for a while: two generations, so that nothing is ever searched for what is old.

New entries go into the young generation. When that is as old as an entry can get, or holds half
of the bytes, it becomes the old one, and what was the old one is dropped as a whole. An entry that
is used moves to the young generation and keeps its age. Never given out: anything past its time.
"""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

JITTER = 0.1  # of an entry's time, either way: what came together does not go together


class Cache(Generic[V]):
    """`now` may come from any clock that does not go back."""

    __slots__ = (
        "_born",
        "_half",
        "_most",
        "_old",
        "_old_bytes",
        "_ttl",
        "_young",
        "_young_bytes",
        "evictions",
    )

    def __init__(self, *, ttl_s: float, most_bytes: int, most_item_bytes: int) -> None:
        self._ttl = ttl_s
        self._half = most_bytes // 2
        self._most = min(most_item_bytes, self._half)
        self._young: dict[Hashable, tuple[float, V, int]] = {}  # until when, what, bytes
        self._old: dict[Hashable, tuple[float, V, int]] = {}
        self._young_bytes = 0
        self._old_bytes = 0
        self._born = float("-inf")  # when the young generation began
        self.evictions = 0  # entries dropped for want of room; expired ones among them count too

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    @property
    def bytes(self) -> int:
        """Of all that is held, as their sizes were given; never more than `most_bytes`."""
        return self._young_bytes + self._old_bytes

    def get(self, key: Hashable, now: float) -> V | None:
        entry = self._young.get(key)
        if entry is not None and now < entry[0]:
            return entry[1]
        if entry is None and key not in self._old:
            return None
        return self._get_old(key, now)

    def _get_old(self, key: Hashable, now: float) -> V | None:
        self.expire(now)
        entry = self._take(key)
        if entry is None or now >= entry[0]:
            return None
        if self._young_bytes + entry[2] <= self._half:
            self._young[key] = entry
            self._young_bytes += entry[2]
        else:
            self._old[key] = entry
            self._old_bytes += entry[2]
        return entry[1]

    def put(self, key: Hashable, value: V, size: int, now: float, rng: random.Random) -> bool:
        """False if it is too large to be kept; what had that key is gone in any case."""
        self.expire(now)
        self._take(key)
        if size > self._most:
            return False
        if self._young_bytes + size > self._half:
            self.evictions += len(self._old)
            self._turn(now)
        until = now + self._ttl * rng.uniform(1 - JITTER, 1 + JITTER)
        self._young[key] = (until, value, size)
        self._young_bytes += size
        return True

    def drop(self, key: Hashable) -> None:
        self._take(key)

    def expire(self, now: float) -> None:
        """Lets go of what has had its time: a generation at once, or nothing. `get` and `put` do
        it too; where neither comes for long, call this now and then."""
        age, oldest = now - self._born, self._ttl * (1 + JITTER)
        if age >= oldest:
            self._turn(now)
        if age >= 2 * oldest:
            self._turn(now)

    def _turn(self, now: float) -> None:
        self._old, self._old_bytes = self._young, self._young_bytes
        self._young, self._young_bytes = {}, 0
        self._born = now

    def _take(self, key: Hashable) -> tuple[float, V, int] | None:
        entry = self._young.pop(key, None)
        if entry is not None:
            self._young_bytes -= entry[2]
            return entry
        entry = self._old.pop(key, None)
        if entry is not None:
            self._old_bytes -= entry[2]
        return entry
