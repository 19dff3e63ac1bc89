"""How many calls at a time a provider bears that does not say so: learned from its refusals.

Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain, 1989). Without a refusal
there is no bound at all. After a pause the bound comes back slowly: providers refuse steep ramps,
too.
"""

from __future__ import annotations

import math

DECREASE = 0.5
RAMP_S = 3.0  # from one call at a time to the bound, after a pause
CALM_S = 600.0  # without a refusal: the bound is forgotten


class Pace:
    __slots__ = ("_cut_at", "_resumes_at", "bound")

    def __init__(self) -> None:
        self.bound = math.inf  # calls at a time
        self._cut_at = -math.inf
        self._resumes_at = -math.inf

    @property
    def is_free(self) -> bool:
        return self.bound == math.inf

    def refused(self, sent_at: float, in_flight: int, now: float, resumes_at: float) -> None:
        """A 429. Those who were sent before the last cut say nothing new."""
        self._resumes_at = max(self._resumes_at, resumes_at)
        if sent_at <= self._cut_at:
            return
        self._cut_at = now
        self.bound = max(1.0, min(self.bound, float(in_flight)) * DECREASE)

    def answered(self, now: float) -> None:
        """A good answer: one more at a time for every round of them."""
        if self.bound == math.inf:
            return
        if now - self._cut_at > CALM_S:
            self.bound = math.inf
        else:
            self.bound += 1.0 / self.bound

    def allowed(self, now: float) -> float:
        """Calls at a time, now."""
        since = now - self._resumes_at
        if since >= RAMP_S or self.bound == math.inf:
            return self.bound
        return 1.0 + (self.bound - 1.0) * max(0.0, since) / RAMP_S

    def next_step(self, now: float) -> float:
        """When more may be allowed without anything having happened; inf outside of a ramp."""
        if self.bound == math.inf or now - self._resumes_at >= RAMP_S or self.bound <= 1.0:
            return math.inf
        return max(now, self._resumes_at) + RAMP_S / self.bound
