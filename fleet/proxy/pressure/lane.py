"""One upstream key and one model: what may be sent there now, and what was.

Nothing bounds a lane until somebody says so: the configuration, the provider's headers, or its
refusals. While nothing does, `is_free` says so, and asking costs an attribute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fleet.proxy.pressure.breaker import Breaker, State
from fleet.proxy.pressure.bucket import Bucket
from fleet.proxy.pressure.hints import Family, Hints
from fleet.proxy.pressure.need import Need
from fleet.proxy.pressure.pace import Pace

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0  # after a 429 that does not say how long
LEAST_WAIT_S = 0.05
CONDEMNED_S = 3600.0  # a key that was refused is tried again; its owner may have mended it


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a person says a key and a model bear; None is not said."""

    requests: float | None = None  # a minute
    input: float | None = None  # tokens a minute, without cache reads
    output: float | None = None
    concurrency: int | None = None


UNBOUNDED = Bounds()


class Lane:
    """`take` before a call, `give_back` after it, once each."""

    __slots__ = (
        "_bound",
        "_buckets",
        "_refusals",
        "account",
        "blocked_until",
        "breaker",
        "condemned_until",
        "in_flight",
        "is_free",
        "model",
        "pace",
        "used_at",
        "why",
    )

    def __init__(self, account: str, model: str, breaker: Breaker, bounds: Bounds) -> None:
        self.account = account
        self.model = model
        self.breaker = breaker  # shared by the keys of one address
        self.pace = Pace()
        self.in_flight = 0
        self.used_at = -math.inf
        self.blocked_until = -math.inf
        self.condemned_until = -math.inf
        self.why = ""  # it is blocked or condemned
        self._refusals = 0  # in a row
        self._buckets: dict[Family, Bucket] = {}
        self._bound: int | None = None
        self.set_bounds(bounds)

    def set_bounds(self, bounds: Bounds) -> None:
        said = {
            Family.REQUESTS: bounds.requests,
            Family.INPUT: bounds.input,
            Family.OUTPUT: bounds.output,
        }
        before = self._buckets
        self._buckets = {}
        for family, per_minute in said.items():
            if per_minute is not None:
                bucket = before.get(family) or Bucket(per_minute)
                bucket.set_rate(per_minute)
                self._buckets[family] = bucket
        self._bound = bounds.concurrency
        self._see()

    def _see(self) -> None:
        """Whether anything but the breaker stands in the way."""
        self.is_free = (
            not self._buckets
            and self._bound is None
            and self.pace.is_free
            and self.blocked_until == -math.inf
            and self.condemned_until == -math.inf
        )

    # -- before a call ----------------------------------------------------------------------

    def ready_at(self, need: Need, now: float) -> float:
        """`now`: at once. inf: when a call that is under way has ended."""
        if self.is_free and self.breaker.state is State.CLOSED:
            return now
        at = max(now, self.blocked_until, self.condemned_until, self.breaker.ready_at(now))
        for family, bucket in self._buckets.items():
            at = max(at, bucket.ready_at(_cost(family, need), now))
        if at > now:
            return at
        self.blocked_until = self.condemned_until = -math.inf
        self._see()
        return now if self.in_flight < self._allowed(now) else self.pace.next_step(now)

    def _allowed(self, now: float) -> float:
        allowed = self.pace.allowed(now)
        return allowed if self._bound is None else min(allowed, self._bound)

    def saturation(self, now: float) -> float:
        """How much of what it bears is in use, 0 to 1."""
        if self.is_free:
            return 0.0
        allowed = self._allowed(now)
        used = self.in_flight / allowed if allowed < math.inf else 0.0
        for bucket in self._buckets.values():
            used = max(used, bucket.saturation(now))
        return used

    def take(self, need: Need, now: float) -> int:
        """What the breaker is to be told the result with."""
        self.in_flight += 1
        self.used_at = now
        for family, bucket in self._buckets.items():
            bucket.charge(_cost(family, need), now)
        return self.breaker.began(now)

    # -- after it ---------------------------------------------------------------------------

    def give_back(self, need: Need, used: Need | None, now: float) -> None:
        """`used`: None if nobody knows, or nothing came of it: then the guess stays."""
        self.in_flight -= 1
        if used is None:
            return
        for family, bucket in self._buckets.items():
            if family is not Family.REQUESTS:
                bucket.charge(_cost(family, used) - _cost(family, need), now)

    def answered(self, now: float) -> None:
        """A good answer has begun."""
        self._refusals = 0
        if not self.pace.is_free:
            self.pace.answered(now)
            self._see()

    def learn(self, hints: Hints, now: float) -> None:
        """Of any answer. A limit that a person has set stays if it is the lower one."""
        for family, level in hints.levels.items():
            if family is Family.TOKENS and Family.INPUT in hints.levels:
                continue  # Anthropic's: whichever of the other two is the tighter one
            bucket = self._buckets.get(family)
            if level.limit and bucket is None:
                bucket = self._buckets[family] = Bucket(level.limit)
                self.is_free = False
            if bucket is not None and level.remaining is not None:
                bucket.at_most(min(level.remaining, bucket.per_minute), now)

    def refused(self, sent_at: float, wait_s: float | None, now: float, jitter: float) -> float:
        """A 429. `wait_s`: as the provider says; else longer each time, with `jitter` of 0 to 1.
        Until when nobody asks."""
        if wait_s is None:
            self._refusals += 1
            ceiling = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._refusals - 1, 10))
            wait_s = ceiling * (0.5 + jitter / 2)
        self.blocked_until = max(self.blocked_until, now + max(LEAST_WAIT_S, wait_s))
        self.why = "the provider's limit"
        self.pace.refused(sent_at, self.in_flight, now, self.blocked_until)
        self.is_free = False
        return self.blocked_until

    def block(self, until: float, why: str) -> None:
        """Nobody asks before."""
        self.blocked_until = max(self.blocked_until, until)
        self.why = why
        self.is_free = False

    def condemn(self, now: float, why: str) -> None:
        """The key is no good."""
        self.condemned_until = now + CONDEMNED_S
        self.why = why
        self.is_free = False

    def is_condemned(self, now: float) -> bool:
        return self.condemned_until > now

    @property
    def is_forgettable(self) -> bool:
        """Nothing would be lost with it."""
        return self.is_free and self.in_flight == 0 and self.breaker.state is State.CLOSED


def _cost(family: Family, need: Need) -> float:
    match family:
        case Family.REQUESTS:
            return 1.0
        case Family.INPUT:
            return need.input
        case Family.OUTPUT:
            return need.output
        case _:
            return need.input + need.output
