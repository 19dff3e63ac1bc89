"""Flights and all that sends them, with upstreams, a clock and timers that a test moves."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fleet.config import UpstreamConfig, UpstreamKind
from fleet.core.caller import Caller
from fleet.proxy.answer import Plan
from fleet.proxy.cache import Cache
from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.dialect import Asked, Endpoint
from fleet.proxy.dispatch import Dispatch
from fleet.proxy.fingerprint import Key
from fleet.proxy.flight import SHARED_BYTES, Flight
from fleet.proxy.kept import Kept
from fleet.proxy.plans import Plans
from fleet.proxy.pressure.lane import UNBOUNDED, Bounds, Lane
from fleet.proxy.pressure.lanes import Lanes
from fleet.proxy.pricing import Prices, Quote, Source
from fleet.proxy.providers import Account, Provider, Route
from fleet.proxy.reports import Reports
from fleet.proxy.setbacks import Policy, Setbacks
from fleet.proxy.singleflight import Flights, Patience
from fleet.proxy.stage import Priority
from fleet.proxy.subscriber import Subscriber
from fleet.proxy.treasury import Refusal, Treasury
from fleet.proxy.warmth import Warmth
from fleet.proxy.wire import Headers, Outgoing, Sink
from tests.proxy import outlets
from tests.proxy.outlets import ANSWER, JSON, Outlet, caller

BY_HAND = Caller(hash="h", key="by-hand.h")
BODY = b"{}"
KEY = b"sk-secret-0123456789"
WALL = 1_750_000_000  # POSIX s, when the clock says 0
FILLER = b": waits\n\n"


class Heard(Reports):
    """What the fleet would have been told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def park(self, caller: Caller, until: float, why: str) -> None:
        self.said.append(f"park {caller.key} until {until:.0f}: {why}")

    def stuck(self, caller: Caller, why: str) -> None:
        self.said.append(f"stuck {caller.key}: {why}")

    def spent(self, flight: Flight, refused: Refusal) -> None:
        self.said.append(f"spent: {refused.message}")

    def fault_of(self, flight: Flight, why: str) -> None:
        self.said.append(f"fault: {why}")

    def pause(self, until: float, why: str) -> None:
        self.said.append(f"pause until {until:.0f}: {why}")

    def breaker(self, lane: Lane) -> None:
        self.said.append(f"breaker {lane.account}: {lane.breaker.state}")

    def key_refused(self, account: str, model: str, why: str) -> None:
        self.said.append(f"key {account}: {why}")


class NoTreasury(Treasury):
    """No budget is set."""

    def __init__(self) -> None:
        self.on_settled = lambda: None

    def guards(self, flight: Flight) -> bool:
        return False

    def void(self, number: int) -> None:
        """Nothing was set aside."""


class NoPrices(Prices):
    def __init__(self) -> None:
        self.free = Quote(ready=True)

    def quote(self, source: Source, model: str) -> Quote:
        return self.free


@dataclass(eq=False)
class Timer:
    at: float
    ring: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class Upstream(outlets.Provider):
    """One that also remembers when it was asked."""

    asked_at: list[float] = field(default_factory=list)
    clock: Callable[[], float] = lambda: 0.0

    def send(self, outgoing: Outgoing, sink: Sink) -> outlets.Sent:
        self.asked_at.append(self.clock())
        return super().send(outgoing, sink)


@dataclass
class World:
    """`keys`: how many accounts each upstream has, by its name, in the model's order."""

    now: float = 100.0
    keys: dict[str, int] = field(default_factory=lambda: {"p": 1})
    bounds: Bounds = UNBOUNDED
    kind: UpstreamKind = UpstreamKind.ANTHROPIC
    keyless: bool = False
    policy: Policy = field(default_factory=Policy)
    settled: list[tuple[int, str]] = field(default_factory=list)
    treasury: Treasury = field(default_factory=NoTreasury)
    rows: list[tuple[str, int]] = field(default_factory=list)  # of which account, which status
    numbers: int = 0

    def __post_init__(self) -> None:
        self.timers: list[Timer] = []
        self.heard = Heard()
        rng = random.Random(1)
        self.upstreams = {
            f"{name}/{number}": Upstream(clock=lambda: self.now)
            for name, keys in self.keys.items()
            for number in range(keys)
        }
        self.routes = tuple(route for name in self.keys for route in self._routes(name))
        self.lanes = Lanes(lambda _upstream, _model: self.bounds, rng)
        setbacks = Setbacks(
            self.lanes,
            self.heard,
            lambda: WALL + self.now,
            rng,
            lambda body: body.replace(KEY, b"[key]"),
        )
        setbacks.policy = self.policy
        self.dispatch = Dispatch(
            lanes=self.lanes,
            setbacks=setbacks,
            plans=Plans(NoPrices()),
            treasury=self.treasury,
            reports=self.heard,
            clock=lambda: self.now,
            wall=lambda: WALL + self.now,
            later=self._later,
        )
        self.flights = Flights(
            cache=Cache[Kept](ttl_s=60, most_bytes=1 << 20, most_item_bytes=SHARED_BYTES),
            warmth=Warmth(),
            dispatch=self.dispatch,
            ledger=self,
            patience=Patience(grace_s=3, hold_back_s=15),
            clock=lambda: self.now,
            rng=rng,
        )

    def _routes(self, name: str) -> list[Route]:
        config = UpstreamConfig(name=name, kind=self.kind, urls=("https://example.test",))
        accounts = tuple(
            Account(
                name=account,
                address=f"{name}@0",
                upstream=self.upstreams[account],
                keyless=self.keyless,
            )
            for account in self.upstreams
            if account.startswith(f"{name}/")
        )
        provider = Provider(config=config, accounts=accounts)
        return [Route(provider, account) for account in accounts]

    @property
    def upstream(self) -> Upstream:
        return next(iter(self.upstreams.values()))

    def lane(self, account: str = "p/0") -> Lane:
        return self.lanes.of(account, f"{account.partition('/')[0]}@0", "m")

    # -- the ledger -------------------------------------------------------------------------

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def settle(self, flight: Flight) -> None:
        flight.usage = flight.meter.usage
        self.settled.append((flight.call_id, str(flight.ended)))
        self.rows.append((flight.plan.account, flight.status))

    # -- time -------------------------------------------------------------------------------

    def _later(self, seconds: float, ring: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, ring)
        self.timers.append(timer)
        return timer

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        """With every timer that comes due, and a tick as often as the service ticks."""
        end = self.now + seconds
        while self.now < end:
            tick = min(end, self.now + step)
            while due := [t for t in self.timers if not t.is_cancelled and t.at <= tick]:
                timer = min(due, key=lambda t: t.at)
                self.timers.remove(timer)
                self.now = max(self.now, timer.at)
                timer.ring()
            self.now = tick
            self.flights.tick()

    # -- requests ---------------------------------------------------------------------------

    def plan(
        self,
        who: str | Caller = "one",
        *,
        prefix: bytes = b"",
        what: bytes = b"a",
        level: Priority = Priority.NORMAL,
        most: int = 0,
    ) -> Plan:
        asked = Asked(endpoint=Endpoint.MESSAGES, model="m", stream=True, max_output=most)
        key: Key = (Endpoint.MESSAGES, "p", "m", b"", (), "", what)
        first = self.routes[0]
        return Plan(
            upstream=first.account.upstream,
            provider=first.provider,
            account=first.account.name,
            dialect=Anthropic(),
            asked=asked,
            stream=True,
            key=key,
            prefix=prefix,
            caller=caller(who) if isinstance(who, str) else who,
            quote=Quote(ready=True),
            routes=self.routes,
            level=level,
            body=BODY,
        )

    def launch(self, plan: Plan, size: int = 2, headers: Headers = ()) -> tuple[Flight, Outlet]:
        body = BODY.ljust(size)
        flight = self.flights.launch(plan, Outgoing("POST", "/v1/messages", headers, body))
        return flight, self.board(flight, plan.caller)

    def board(self, flight: Flight, who: str | Caller) -> Outlet:
        outlet = Outlet()
        flight.board(
            Subscriber(
                outlet,
                caller(who) if isinstance(who, str) else who,
                stream=True,
                wants_usage=False,
                dedup=b"",
                filler=lambda: FILLER,
                on_start=lambda: None,
                on_done=lambda: None,
            )
        )
        return outlet

    def ask(self, who: str | Caller = "one", what: bytes = b"a", **more: object) -> Outlet:
        """One request, from a client that waits."""
        return self.launch(self.plan(who, what=what, **more))[1]  # type: ignore[arg-type]

    def finish(self, number: int = -1, *events: bytes) -> None:
        sent = self.upstream.calls[number]
        sent.stream(*(events or ANSWER))
        sent.sink.end()


def answer(sent: outlets.Sent, headers: Headers = (), events: Sequence[bytes] = ANSWER) -> None:
    """A good one, to its end."""
    sent.sink.head(200, (*outlets.EVENT_STREAM, *headers))
    for event in events:
        sent.sink.data(event)
    sent.sink.end()


def refuse(sent: outlets.Sent, status: int, headers: Headers = (), body: bytes = b"{}") -> None:
    sent.sink.head(status, (*JSON, *headers))
    sent.sink.data(body)
    sent.sink.end()
