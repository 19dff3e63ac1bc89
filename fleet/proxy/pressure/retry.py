"""What an answer, or the lack of one, says about asking again: whom, when, and whether at all."""

from __future__ import annotations

import random
import re
from collections import deque
from enum import Enum

from fleet.proxy.wire import Failure, Fault

TRIES = 4  # of one request, in all
FIRST_S, CAP_S = 0.25, 8.0
BUDGET = 0.1  # retries per request
LEAST = 10  # retries that are always allowed within the window
WINDOW_S = 60.0

# A 429 that waiting does not mend. OpenAI, Anthropic and gateways of their kind say so in words.
_SPENT = re.compile(
    rb'"(?:code|type)" ?: ?"(?:insufficient_quota|billing_error|billing_hard_limit_reached|'
    rb'billing_not_active|credit_balance_too_low)"'
)


class Setback(Enum):
    """What kind of bad news."""

    LIMITED = "limited"  # too much at once: the same later, or by another key now
    SPENT = "spent"  # the key's money is: another key, or nobody
    UNAUTHORIZED = "unauthorized"  # the key is bad
    MISSING = "missing"  # this upstream does not have it: another may
    SICK = "sick"  # the upstream fails: the same after a while, then another
    FINAL = "final"  # it is about the request: whoever is asked will say so


def of_status(status: int, body: bytes) -> Setback:
    """Of an answer that came whole, with a status of 400 or more."""
    if status == 429:
        return Setback.SPENT if _SPENT.search(body) else Setback.LIMITED
    if status in (401, 403):
        return Setback.UNAUTHORIZED
    if status in (404, 501):
        return Setback.MISSING
    if status == 402:
        return Setback.SPENT
    if status >= 500 or status == 408:
        return Setback.SICK
    return Setback.FINAL


def of_failure(failure: Failure) -> Setback:
    """Of a call that got no whole answer. All that cannot be read is the upstream's fault."""
    return Setback.FINAL if failure.fault is Fault.TOO_LARGE else Setback.SICK


def backoff_s(tries: int, rng: random.Random) -> float:
    """Before the next try, after so many: full jitter (Brooker, "Exponential Backoff And
    Jitter", AWS 2015)."""
    ceiling = min(CAP_S, FIRST_S * 2 ** (max(1, tries) - 1))
    return rng.uniform(0.0, ceiling)


class RetryBudget:
    """Retries may be a tenth of all requests, and a few always: an upstream that is down is not
    asked more often than one that is well."""

    __slots__ = ("_requests", "_retries")

    def __init__(self) -> None:
        self._requests: deque[tuple[float, int]] = deque()  # a second, how many in it
        self._retries: deque[float] = deque()

    def requested(self, now: float) -> None:
        second = float(int(now))
        if self._requests and self._requests[-1][0] == second:
            self._requests[-1] = second, self._requests[-1][1] + 1
        else:
            self._requests.append((second, 1))
            while self._requests[0][0] < now - WINDOW_S:
                self._requests.popleft()

    def retries(self, now: float) -> bool:
        """Whether there is one left; it is taken."""
        while self._retries and self._retries[0] < now - WINDOW_S:
            self._retries.popleft()
        requests = sum(count for at, count in self._requests if at >= now - WINDOW_S)
        if len(self._retries) >= max(LEAST, BUDGET * requests):
            return False
        self._retries.append(now)
        return True
