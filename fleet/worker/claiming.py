"""Finding the next task and claiming it: the lock first, then the epoch.

A task whose lock is free although the ledger says somebody works on it lost its worker. What is
left of that attempt is ended and its work kept before the task may be claimed again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fleet.core.attempt import Claim, Outcome, Owner
from fleet.core.policy import Candidate
from fleet.core.task import HELD
from fleet.store.claims import Held, is_held, try_hold
from fleet.store.layout import Layout
from fleet.store.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A claim and the lock that proves its owner is alive."""

    claim: Claim
    lock: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    layout: Layout
    ledger: Ledger
    owner: Owner
    clean_up: Callable[[Candidate], None]  # ends and salvages what a dead worker left
    rng: random.Random

    def next(self, without: Collection[str] = ()) -> Taken | None:
        """The most urgent task that can be had now, but for those of some agents."""
        self.bury_the_dead()
        self.ledger.wake(now=time.time())
        found = self.ledger.claim(
            self.owner,
            lambda id_: try_hold(self.layout.claim_lock(id_)),
            now=time.time(),
            without=without,
        )
        return Taken(claim=found[0], lock=found[1]) if found else None

    def bury_the_dead(self) -> None:
        for candidate in self.ledger.held():
            self._bury_if_dead(candidate)

    def _bury_if_dead(self, candidate: Candidate) -> None:
        """A held task whose lock can be had has lost its worker; its children may live."""
        path = self.layout.claim_lock(candidate.id)
        if is_held(path):  # its owner is alive, by kernel proof; asking is cheap, locking is not
            return
        lock = try_hold(path)
        if lock is None:
            return
        with lock:
            if self._still_held(candidate):
                self._bury(candidate)

    def _still_held(self, candidate: Candidate) -> bool:
        """Look again under the lock: it may have been handed in since we listed it."""
        return self.ledger.stands(candidate.id, candidate.epoch, HELD)

    def _bury(self, candidate: Candidate) -> None:
        self.clean_up(candidate)
        self.ledger.ended(
            candidate.id,
            candidate.epoch,
            Outcome.ABANDONED,
            "its worker died",
            now=time.time(),
            rng=self.rng,
        )
