"""Flights that a test moves by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.config import UpstreamConfig, UpstreamKind
from fleet.core.caller import Caller
from fleet.proxy.answer import Plan
from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.dialect import Asked, Dialect, Endpoint
from fleet.proxy.flight import Flight
from fleet.proxy.pricing import Quote
from fleet.proxy.providers import Provider as ProviderOf
from fleet.proxy.subscriber import Subscriber
from fleet.proxy.wire import Failure, Fault, Outgoing
from tests.proxy.outlets import (
    Outlet,
    Provider,
    Sent,
    caller,
)

PROVIDER = ProviderOf(config=UpstreamConfig(name="p", kind=UpstreamKind.SCRIPT), accounts=())
LOST = Failure(Fault.RESET, answered=True)


@dataclass
class Told:
    """What a flight says to whoever keeps it."""

    said: list[str] = field(default_factory=list)

    def headed(self, flight: Flight) -> None:
        if flight.status == 200:
            self.said.append("answered")

    def unshared(self, flight: Flight) -> None:
        self.said.append("unshared")

    def over(self, flight: Flight) -> None:
        self.said.append(f"over {flight.ended}")

    def retries(self, flight: Flight) -> bool:
        return False

    def deserted(self, flight: Flight) -> None:
        self.said.append("deserted")


@dataclass
class Trip:
    """A flight under way, and the means to move it."""

    flight: Flight
    sent: Sent
    told: Told
    done: list[str] = field(default_factory=list)

    def board(
        self, name: str = "one", *, stream: bool = True, wants_usage: bool = False
    ) -> tuple[Subscriber, Outlet]:
        outlet = Outlet()
        one = subscriber(name, outlet, stream=stream, wants_usage=wants_usage, done=self.done)
        self.flight.board(one)
        return one, outlet


def subscriber(
    name: str,
    outlet: Outlet,
    *,
    stream: bool,
    wants_usage: bool = False,
    done: list[str] | None = None,
) -> Subscriber:
    told = [] if done is None else done
    return Subscriber(
        outlet,
        caller(name),
        stream=stream,
        wants_usage=wants_usage,
        dedup=b"joined",
        on_start=lambda: None,
        on_done=lambda: told.append(name),
    )


def trip(
    *,
    stream: bool = True,
    who: Caller | None = None,
    dialect: Dialect = Anthropic(),  # noqa: B008 - it has no state
    asked: Asked | None = None,
) -> Trip:
    provider, told = Provider(), Told()
    plan = Plan(
        upstream=provider,
        provider=PROVIDER,
        account="p/0",
        dialect=dialect,
        asked=asked or Asked(endpoint=Endpoint.MESSAGES, model="m", stream=stream),
        stream=stream,
        key=None,
        prefix=b"",
        caller=who or caller(),
        quote=Quote(ready=True),
    )
    outgoing = Outgoing("POST", "/v1/messages", (), b"{}")
    flight = Flight(plan, outgoing, told, lambda: 1.0)
    flight.sending = sent = provider.send(outgoing, flight)
    return Trip(flight, sent, told)
