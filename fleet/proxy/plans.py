"""From what is asked to what goes on the wire, for whichever provider is asked."""

from __future__ import annotations

from dataclasses import replace

from fleet.proxy.answer import Plan
from fleet.proxy.dialects import chat
from fleet.proxy.dialects.cap import capped
from fleet.proxy.dialects.dialect import Asked, Endpoint
from fleet.proxy.flight import Flight
from fleet.proxy.pricing import Prices
from fleet.proxy.providers import Provider, Route
from fleet.proxy.wire import Outgoing

STREAMED = frozenset({Endpoint.MESSAGES, Endpoint.CHAT, Endpoint.RESPONSES})


class Plans:
    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def by(self, flight: Flight, route: Route) -> tuple[Plan, Outgoing]:
        """The same request by another way; its answer will be kept under who gave it."""
        plan, outgoing = flight.plan, flight.outgoing
        assert outgoing is not None
        provider, account = route
        key = plan.key
        if provider is plan.provider:
            other = replace(plan, upstream=account.upstream, account=account.name)
            return other, outgoing
        body, stream, hides_usage = worded(
            plan.body, plan.asked, provider, is_odd=plan.is_odd, cap=plan.cap
        )
        other = replace(
            plan,
            upstream=account.upstream,
            provider=provider,
            account=account.name,
            stream=stream,
            key=None if key is None else (key[0], provider.name, *key[2:]),
            quote=self._prices.quote(provider.source, plan.asked.model),
            hides_usage=hides_usage,
        )
        return other, replace(outgoing, body=body)


def worded(
    body: bytes, asked: Asked, provider: Provider, *, is_odd: bool, cap: int = 0
) -> tuple[bytes, bool, bool]:
    """What goes on the wire, whether it asks for a stream, and whether for a usage chunk that the
    client did not ask for: streams of Chat say what they used only then. Else no byte is touched,
    but for providers that are always asked for a stream, and for the bound of an answer that a
    budget needs. `is_odd`: nobody can read the body."""
    stream = asked.stream
    if cap and not asked.max_output and not is_odd:
        body = capped(body, asked.endpoint, cap, official=provider.is_official)
    if is_odd or asked.endpoint not in STREAMED:
        return body, stream, False
    if provider.always_streams and not stream:
        body, stream = chat.with_stream(body), True
    hides = asked.endpoint is Endpoint.CHAT and not asked.wants_usage
    if stream and hides and provider.config.stream_usage:
        return chat.with_usage(body), stream, True
    return body, stream, False
