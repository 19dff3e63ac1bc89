"""Equal requests, one call: the flights under way by what they ask, and the answers kept.

Looking a key up and putting a flight in its place happen without letting go of the loop, so two
equal requests can never both lead. A key leaves the table before anybody hears that its flight is
over: of those who then ask again, exactly one leads the next.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fleet.core.traffic import JOINED, LEADER, REPLAYED, Ended
from fleet.proxy.answer import Answer, Form, Plan
from fleet.proxy.cache import Cache
from fleet.proxy.dialects.dialect import Endpoint
from fleet.proxy.dispatch import Dispatch
from fleet.proxy.fingerprint import Key
from fleet.proxy.flight import Flight
from fleet.proxy.kept import Kept
from fleet.proxy.warmth import Go, PrefixKey, Ticket, Warmth
from fleet.proxy.wire import Outgoing

__all__ = ["LEADER", "Flights", "Ledger", "Patience"]

FILL_S = 15.0  # between events that keep a client waiting
CHANCELESS = frozenset({Endpoint.COUNT_TOKENS, Endpoint.EMBEDDINGS})  # asking again changes nothing


class Ledger(Protocol):
    """Where calls are written down: each gets a number as it leaves, and a row when it is over."""

    def number(self) -> int: ...
    def settle(self, flight: Flight) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    grace_s: float  # a call nobody waits for goes on so long
    hold_back_s: float  # an answer without content is held back so long; then promised


class _Gate(NamedTuple):
    """Before a prompt cache."""

    key: PrefixKey
    ticket: Ticket


class Flights:
    """The `Control` of every flight."""

    def __init__(
        self,
        *,
        cache: Cache[Kept],
        warmth: Warmth,
        dispatch: Dispatch,
        ledger: Ledger,
        patience: Patience,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.cache = cache
        self.warmth = warmth
        self.dispatch = dispatch
        self._ledger = ledger
        self._patience = patience
        self._clock = clock
        self._rng = rng
        self._shared: dict[Key, Flight] = {}
        self._live: dict[Flight, _Gate | None] = {}  # and its place before the prompt cache
        dispatch.attach(self)

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
        answer = Answer.replayed(kept, plan)
        kept.is_sound = kept.is_sound or answer.well_formed
        if kept.is_sound:
            return answer, REPLAYED
        self.cache.drop(key)
        return None

    def launch(self, plan: Plan, outgoing: Outgoing) -> Flight:
        """A new call, on its way as soon as it may be. Where its prompt cache is just being
        written, that is awaited first."""
        flight = Flight(plan, outgoing, self, self._clock)
        if plan.key is not None:
            flight.shared_as = plan.key
            self._shared[plan.key] = flight
        self._live[flight] = None
        size = len(outgoing.body)
        if plan.prefix:
            key = PrefixKey(plan.prefix, plan.account, plan.asked.model)
            gate = _Gate(key, Ticket(lambda: self._go(flight, size)))
            self._live[flight] = gate
            if self.warmth.ask(key, gate.ticket, self._clock()) is not Go.NOW:
                return flight
        self.dispatch.submit(flight, size)
        return flight

    def _go(self, flight: Flight, size: int) -> None:
        if not flight.is_over:
            self.dispatch.submit(flight, size)

    # -- told by the dispatch ---------------------------------------------------------------

    def number(self) -> int:
        return self._ledger.number()

    def lined_up(self, flight: Flight) -> None:
        """Nobody waits for the prompt cache of a call that waits itself: all wait in line."""
        gate = self._live.get(flight)
        if gate is not None:
            self._live[flight] = None
            self.warmth.left(gate.key, gate.ticket)

    def send(self, flight: Flight) -> None:
        plan, outgoing, number = flight.plan, flight.outgoing, flight.call_id
        if outgoing is None:
            return
        flight.sent_at = now = self._clock()
        gate = self._live.get(flight)
        if gate is not None:
            if gate.key.account == plan.account:
                self.warmth.dispatched(gate.key, gate.ticket, now)
            else:  # it goes elsewhere, where it warms nothing for those who wait
                self._live[flight] = None
                self.warmth.left(gate.key, gate.ticket)
        sending = plan.upstream.send(outgoing, flight)
        if not flight.is_over and flight.call_id == number and flight.sent_at:
            flight.sending = sending

    # -- told by flights --------------------------------------------------------------------

    def headed(self, flight: Flight) -> None:
        gate = self._live.get(flight)
        if gate is not None and flight.status == 200:
            self.warmth.answered(gate.key, gate.ticket, self._clock())
        self.dispatch.headed(flight)

    def unshared(self, flight: Flight) -> None:
        key = flight.shared_as
        if key is not None and self._shared.get(key) is flight:
            del self._shared[key]

    def retries(self, flight: Flight) -> bool:
        """The call that came to nothing is written down, and the next begins afresh."""
        if not self.dispatch.retries(flight):
            return False
        self._ledger.settle(flight)
        flight.again()
        self.dispatch.again(flight)
        return True

    def over(self, flight: Flight) -> None:
        self.unshared(flight)
        gate = self._live.pop(flight, None)
        if gate is not None:
            self._leave_gate(flight, gate)
        if flight.sent_at:
            self._ledger.settle(flight)
        self.dispatch.over(flight)
        key = flight.plan.key
        if key is not None and _worth_keeping(flight):
            kept = flight.kept()
            self.cache.put(key, kept, kept.size, self._clock(), self._rng)

    def deserted(self, flight: Flight) -> None:
        flight.deserted_at = self._clock()

    def _leave_gate(self, flight: Flight, gate: _Gate) -> None:
        if not flight.sent_at:
            self.warmth.left(gate.key, gate.ticket)
        elif flight.status != 200:
            self.warmth.failed(gate.key, gate.ticket, self._clock())

    # -- time -------------------------------------------------------------------------------

    def tick(self) -> None:
        """A few times a second: what has waited long enough."""
        now = self._clock()
        self.warmth.due(now)
        self.cache.expire(now)
        self.dispatch.tick()
        for flight in tuple(self._live):
            deserted = flight.deserted_at
            if deserted is not None and now - deserted >= self._patience.grace_s:
                flight.cancel()
            elif flight.is_waiting and now - flight.began >= self._patience.hold_back_s:
                self._keep(flight, now)

    def _keep(self, flight: Flight, now: float) -> None:
        """It takes long: whoever waits in a stream hears of it, while the status is lost."""
        if flight.head_at and now - flight.head_at >= self._patience.hold_back_s:
            flight.release()
        if flight.is_waiting:
            for subscriber in tuple(flight.subscribers):
                if now - subscriber.filled_at >= FILL_S:
                    subscriber.keep(now)

    def close(self) -> None:
        """End every call; what they used is written down."""
        for flight in tuple(self._live):
            flight.cancel()


def _worth_keeping(flight: Flight) -> bool:
    return (
        flight.ended is Ended.COMPLETE
        and flight.status == 200
        and flight.form is not Form.RAW
        and flight.meter.storable
    )
