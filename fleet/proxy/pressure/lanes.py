"""All lanes of a proxy, by key and model, and what holds for all lanes of a key."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from fleet.proxy.pressure.breaker import OPEN_S, Breaker
from fleet.proxy.pressure.lane import Bounds, Lane

REMEMBERED = 2048  # names of models are the agents' to invent

BoundsOf = Callable[[str, str], Bounds]  # of an upstream and a model


class _Key:
    """What is known of a key, whatever the model."""

    __slots__ = ("condemned_until", "used_up_until", "why")

    def __init__(self) -> None:
        self.condemned_until = self.used_up_until = -math.inf
        self.why = ""


class Lanes:
    def __init__(self, bounds: BoundsOf, rng: random.Random) -> None:
        self._bounds = bounds
        self._rng = rng
        self._open_s = OPEN_S
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._keys: dict[str, _Key] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(tuple(self._lanes.values()))

    def of(self, account: str, address: str, model: str) -> Lane:
        """`account`: "anthropic/0"; `address`: what its breaker is shared by."""
        lane = self._lanes.get((account, model))
        return lane if lane is not None else self._new(account, address, model)

    def _new(self, account: str, address: str, model: str) -> Lane:
        if len(self._lanes) >= REMEMBERED:
            self._forget()
        breaker = self._breakers.get((address, model))
        if breaker is None:
            breaker = self._breakers[address, model] = Breaker(self._rng, self._open_s)
        bounds = self._bounds(account.partition("/")[0], model)
        lane = self._lanes[account, model] = Lane(account, model, breaker, bounds)
        key = self._keys.get(account)
        if key is not None:
            lane.block(key.used_up_until, key.why)
            lane.condemned_until = key.condemned_until
        return lane

    def _forget(self) -> None:
        kept = {key: lane for key, lane in self._lanes.items() if not lane.is_forgettable}
        self._lanes = kept
        in_use = {id(lane.breaker) for lane in kept.values()}
        self._breakers = {
            key: breaker for key, breaker in self._breakers.items() if id(breaker) in in_use
        }

    # -- a whole key ------------------------------------------------------------------------

    def condemn(self, account: str, now: float, why: str) -> None:
        """Its key is no good, for any model."""
        for lane in self._of_key(account):
            lane.condemn(now, why)
            key = self._key(account)
            key.condemned_until, key.why = lane.condemned_until, why

    def use_up(self, account: str, until: float, why: str) -> None:
        """Its subscription is used up, for any model."""
        key = self._key(account)
        key.used_up_until, key.why = until, why
        for lane in self._of_key(account):
            lane.block(until, why)

    def used_up_until(self, account: str) -> float:
        key = self._keys.get(account)
        return -math.inf if key is None else key.used_up_until

    def _key(self, account: str) -> _Key:
        return self._keys.setdefault(account, _Key())

    def _of_key(self, account: str) -> Iterator[Lane]:
        return (lane for lane in self if lane.account == account)

    # -- changes of the configuration -------------------------------------------------------

    def rebound(self, bounds: BoundsOf, open_s: float) -> None:
        """Other limits from now on, and another length for breakers to stay open. What a provider
        has said is learned anew."""
        self._bounds, self._open_s = bounds, open_s
        for breaker in self._breakers.values():
            breaker.open_s = open_s
        for lane in self:
            lane.set_bounds(bounds(lane.account.partition("/")[0], lane.model))

    def pardon(self) -> None:
        """Upstreams were changed: keys that were condemned may be other keys now."""
        self._keys.clear()
        for lane in self:
            lane.condemned_until = -math.inf
