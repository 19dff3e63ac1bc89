"""Equal requests, one call: the flights under way by what they ask, and the answers kept.

Looking a key up and putting a flight in its place happen without letting go of the loop, so two
equal requests can never both lead. A key leaves the table before anybody hears that its flight is
over: of those who then ask again, exactly one leads the next.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fleet.core.traffic import JOINED, LEADER, REPLAYED, Ended
from fleet.proxy.answer import Answer, Form, Plan
from fleet.proxy.cache import Cache
from fleet.proxy.dialects.dialect import Endpoint
from fleet.proxy.fingerprint import Key
from fleet.proxy.flight import Flight
from fleet.proxy.kept import Kept
from fleet.proxy.warmth import Go, PrefixKey, Ticket, Warmth
from fleet.proxy.wire import Outgoing

__all__ = ["LEADER", "Flights", "Ledger", "Patience"]

CHANCELESS = frozenset({Endpoint.COUNT_TOKENS, Endpoint.EMBEDDINGS})  # asking again changes nothing


class Ledger(Protocol):
    """Where calls are written down: each gets a number as it leaves, and a row when it is over."""

    def number(self) -> int: ...
    def settle(self, flight: Flight) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    grace_s: float  # a call nobody waits for goes on so long
    hold_back_s: float  # an answer without content is held back so long


class Flights:
    """The `Control` of every flight."""

    def __init__(
        self,
        *,
        cache: Cache[Kept],
        warmth: Warmth,
        ledger: Ledger,
        patience: Patience,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.cache = cache
        self.warmth = warmth
        self._ledger = ledger
        self._patience = patience
        self._clock = clock
        self._rng = rng
        self._shared: dict[Key, Flight] = {}
        self._live: dict[Flight, Ticket | None] = {}  # and its place at the prompt-cache gate
        self._retried: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._live)

    def find(self, plan: Plan) -> tuple[Answer, str] | None:
        """An answer to board, under way or kept. One who has had it and asks again wants a new
        one; before it is first given to somebody else it is read through."""
        key = plan.key
        if key is None:
            return None
        flight = self._shared.get(key)
        if flight is not None:
            return flight, JOINED
        kept = self.cache.get(key, self._clock())
        if kept is None:
            return None
        if plan.caller.key in kept.consumed and plan.asked.endpoint not in CHANCELESS:
            return None
        answer = Answer.again(kept, plan)
        kept.is_sound = kept.is_sound or answer.well_formed
        if kept.is_sound:
            return answer, REPLAYED
        self.cache.drop(key)
        return None

    def launch(self, plan: Plan, outgoing: Outgoing) -> Flight:
        """A new call, on its way at once unless its prompt cache is just being written."""
        flight = Flight(plan, outgoing, self, self._clock)
        if plan.key is not None:
            self._shared[plan.key] = flight
        self._live[flight] = None
        if plan.prefix:
            ticket = Ticket(lambda: self._send(flight))
            self._live[flight] = ticket
            if self.warmth.ask(_gate(plan), ticket, self._clock()) is not Go.NOW:
                return flight
        self._send(flight)
        return flight

    def _send(self, flight: Flight) -> None:
        plan, outgoing = flight.plan, flight.outgoing
        if outgoing is None:
            return
        flight.sent_at = now = self._clock()
        flight.call_id = self._ledger.number()
        ticket = self._live.get(flight)
        if ticket is not None:
            self.warmth.dispatched(_gate(plan), ticket, now)
        sending = plan.upstream.send(outgoing, flight)
        if not flight.is_over:
            flight.sending = sending

    # -- told by flights --------------------------------------------------------------------

    def answered(self, flight: Flight) -> None:
        ticket = self._live.get(flight)
        if ticket is not None:
            self.warmth.answered(_gate(flight.plan), ticket, self._clock())

    def unshared(self, flight: Flight) -> None:
        key = flight.plan.key
        if key is not None and self._shared.get(key) is flight:
            del self._shared[key]

    def retries(self, flight: Flight) -> bool:
        """A kept-alive connection that was closed as we wrote: no answer had begun. Once."""
        failure = flight.failure
        if failure is None or not failure.reused or flight in self._retried:
            return False
        self._retried.add(flight)
        self._ledger.settle(flight)
        flight.failure = None
        self._send(flight)
        return True

    def over(self, flight: Flight) -> None:
        self.unshared(flight)
        ticket = self._live.pop(flight, None)
        self._retried.discard(flight)
        if ticket is not None:
            self._leave_gate(flight, ticket)
        if flight.sent_at:
            self._ledger.settle(flight)
        key = flight.plan.key
        if key is not None and _worth_keeping(flight):
            kept = flight.kept()
            self.cache.put(key, kept, kept.size, self._clock(), self._rng)

    def deserted(self, flight: Flight) -> None:
        flight.deserted_at = self._clock()

    def _leave_gate(self, flight: Flight, ticket: Ticket) -> None:
        if not flight.sent_at:
            self.warmth.left(_gate(flight.plan), ticket)
        elif flight.status != 200:
            self.warmth.failed(_gate(flight.plan), ticket, self._clock())

    # -- time -------------------------------------------------------------------------------

    def tick(self) -> None:
        """A few times a second: what has waited long enough."""
        now = self._clock()
        self.warmth.due(now)
        self.cache.expire(now)
        for flight in tuple(self._live):
            deserted = flight.deserted_at
            if deserted is not None and now - deserted >= self._patience.grace_s:
                flight.cancel()
            elif flight.head_at and now - flight.head_at >= self._patience.hold_back_s:
                flight.release()

    def close(self) -> None:
        """End every call; what they used is written down."""
        for flight in tuple(self._live):
            flight.cancel()


def _gate(plan: Plan) -> PrefixKey:
    return PrefixKey(plan.prefix, plan.account, plan.asked.model)


def _worth_keeping(flight: Flight) -> bool:
    return (
        flight.ended is Ended.COMPLETE
        and flight.status == 200
        and flight.form is not Form.RAW
        and flight.meter.storable
    )
