"""Whether an upstream that fails is asked at all.

Closed, it passes everything. Failures in a row, or too many among the last results, open it: for a
while nobody asks. Then a few probes may; their results close it, or open it for longer. Only what
says something of the upstream's health is a result: not a 4xx, not a 429, not a call that nobody
waited for.
"""

from __future__ import annotations

import math
import random
from enum import StrEnum

IN_A_ROW = 5
WINDOW = 100  # results
LEAST = 10  # of them, before their rate says anything
RATE = 0.5  # of failures
OPEN_S = 60.0  # the first time, if not said; twice as long after every round that failed
MOST_DOUBLINGS = 6
JITTER = 0.2
PROBES = 3  # at a time
CLOSES_AT = 0.8  # of the probes, three at least
LEAST_PROBES = 3
_MASK = (1 << WINDOW) - 1


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


_CLOSED = State.CLOSED  # looked at with every call, and an enum's member is slow to come by


class Breaker:
    """`began` before a call; then exactly one of `succeeded`, `failed` and `said_nothing`, with
    what `began` returned."""

    __slots__ = (
        "_failures",
        "_good",
        "_good_run",
        "_in_a_row",
        "_probing",
        "_results",
        "_rng",
        "_round",
        "_seen",
        "_times",
        "_until",
        "open_s",
        "state",
        "why",
    )

    def __init__(self, rng: random.Random, open_s: float = OPEN_S) -> None:
        self._rng = rng
        self.open_s = open_s
        self.state = State.CLOSED
        self.why = ""  # it is not closed
        self._round = 0  # grows with every change of state: late results of another do not count
        self._in_a_row = 0  # failures, if no success has come since
        self._good_run = 0  # successes since the last failure: most calls cost this one count
        self._results = 0  # those up to the last failure, as bits; a failure is a 1
        self._seen = 0
        self._times = 0  # opened since it was last closed
        self._until = -math.inf
        self._probing = self._good = self._failures = 0

    def ready_at(self, now: float) -> float:
        """When a call may begin; `now` if at once, inf if that depends on a probe under way."""
        if self.state is _CLOSED:
            return now
        if self.state is State.OPEN:
            return max(now, self._until)
        return now if self._probing < PROBES else math.inf

    def began(self, now: float) -> int:
        """To be given back with the result. Only when `ready_at` says now."""
        if self.state is _CLOSED:
            return self._round
        if self.state is State.OPEN:
            self._turn(State.HALF_OPEN)
            self._probing = self._good = self._failures = 0
        self._probing += 1
        return self._round

    def succeeded(self, began: int, now: float) -> bool:
        """Whether the state changed by it."""
        if began != self._round:
            return False
        if self.state is _CLOSED:
            self._good_run += 1
            return False
        self._probing -= 1
        self._good += 1
        probes = self._good + self._failures
        if probes < LEAST_PROBES or self._good < CLOSES_AT * probes:
            return False
        self._turn(State.CLOSED)
        self.why = ""
        self._in_a_row = self._good_run = self._results = self._seen = self._times = 0
        return True

    def failed(self, began: int, now: float, why: str) -> bool:
        """Whether the state changed by it."""
        if began != self._round:
            return False
        if self.state is _CLOSED:
            good = self._good_run
            self._in_a_row = self._in_a_row + 1 if not good else 1
            self._seen += good + 1
            self._results = ((self._results << min(good, WINDOW) + 1) | 1) & _MASK
            self._good_run = 0
            if self._in_a_row >= IN_A_ROW:
                return self._open(now, f"{self._in_a_row} failures in a row, the last: {why}")
            failures, of = self._results.bit_count(), min(self._seen, WINDOW)
            if of >= LEAST and failures >= RATE * of:
                return self._open(now, f"{failures} of {of} calls failed, the last: {why}")
            return False
        self._probing -= 1
        self._failures += 1
        if self._good and self._failures == 1:
            return False  # it may still come to four good ones of five
        return self._open(now, f"a probe failed: {why}")

    def said_nothing(self, began: int) -> None:
        """Cancelled, or refused for a reason of its own: no verdict, and its place is free."""
        if began == self._round and self.state is State.HALF_OPEN:
            self._probing -= 1

    def _open(self, now: float, why: str) -> bool:
        length = self.open_s * 2 ** min(self._times, MOST_DOUBLINGS)
        self._until = now + length * self._rng.uniform(1 - JITTER, 1 + JITTER)
        self._times += 1
        self.why = why
        self._turn(State.OPEN)
        return True

    def _turn(self, state: State) -> None:
        self.state = state
        self._round += 1
