"""What a call costs: unit prices from genai-prices, and the sum over what was used.

Prices are whole atto-dollars (1e-18 USD) a token, which holds every published price exactly; a
call's cost is rounded once, to a whole nano-dollar. The price data is large and slow to import, so
a child reads it: a model is looked up there once, and a price that changes on a known day again
then. A model without a known price costs nothing known, which is not nothing: see `Quote.priced`.

Not in the data's unit prices, and so not counted: a provider's tool fees (web searches), and
service tiers that a request asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from fleet.core.usage import Usage
from fleet.process.line_child import LineChild

log = logging.getLogger(__name__)

ATTO_TO_NANO = 1_000_000_000
ATTO_PER_MILLION = 10**12  # a price of one dollar per million tokens
REMEMBERED = 4096  # names of models are the agents' to invent
ASK_AGAIN_S = 60.0  # after the child failed
IDLE_S = 10.0  # it takes 37 MB
ANSWER_S = 20.0  # the import takes 0.3 s on an idle core
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

Ask = Callable[[bytes], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Atto-dollars a token."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    tiers: tuple[Tier, ...] = ()  # rising; the last one passed holds for all tokens of a call


@dataclass(frozen=True, slots=True)
class Tier:
    above: int  # tokens of input, of every kind
    price: Price


def per_million(
    *,
    input: float,
    output: float,
    cache_read: float,
    cache_write: float,
) -> Price:
    """From dollars for a million tokens."""
    return Price(
        input=round(input * ATTO_PER_MILLION),
        output=round(output * ATTO_PER_MILLION),
        cache_read=round(cache_read * ATTO_PER_MILLION),
        cache_write_5m=round(cache_write * ATTO_PER_MILLION),
        cache_write_1h=round(cache_write * ATTO_PER_MILLION),
    )


FREE = Price(input=0, output=0, cache_read=0, cache_write_5m=0, cache_write_1h=0)


def cost(usage: Usage, price: Price) -> int:
    """In nano-dollars, to the nearest."""
    if price.tiers:
        total = usage.total_input
        for tier in price.tiers:
            if total > tier.above:
                price = tier.price
    atto = (
        usage.input * price.input
        + usage.cache_read * price.cache_read
        + usage.cache_write_5m * price.cache_write_5m
        + usage.cache_write_1h * price.cache_write_1h
        + usage.output * price.output
    )
    return (atto + ATTO_TO_NANO // 2) // ATTO_TO_NANO


class Source(NamedTuple):
    """Who is paid."""

    kind: str  # "anthropic", "openai", "gemini": whose list holds where the address says nothing
    url: str = ""
    free: bool = False  # a model of our own: its price is known to be nothing


class Question(msgspec.Struct):
    """To the child, as a line of JSON."""

    kind: str
    url: str
    model: str


class Answer(msgspec.Struct):
    price: Price | None  # None: not in the data, or not by the token alone
    until: float = 0.0  # POSIX s; 0: for good


class Quote:
    """A model's price, now or as soon as it is known."""

    __slots__ = ("price", "ready", "until")

    def __init__(self, price: Price | None = None, *, ready: bool) -> None:
        self.price = price
        self.ready = ready  # False: it is being looked up for the first time
        self.until = 0.0

    @property
    def priced(self) -> bool:
        return self.price is not None

    def cost(self, usage: Usage) -> int:
        """0 while there is no price."""
        return 0 if self.price is None else cost(usage, self.price)


KNOWN_FREE = Quote(FREE, ready=True)


class Prices:
    """Every model's quote; who asks never waits."""

    def __init__(
        self,
        ask: Ask,
        *,
        tasks: asyncio.TaskGroup,
        overrides: Mapping[str, Price] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ask = ask
        self._tasks = tasks
        self._now = now
        self._overrides: dict[str, Quote] = {}
        self._quotes: dict[tuple[Source, str], Quote] = {}
        self.override(overrides or {})

    def override(self, prices: Mapping[str, Price]) -> None:
        """What a person says goes before every list, whoever is paid."""
        self._overrides = {model: Quote(price, ready=True) for model, price in prices.items()}

    def quote(self, source: Source, model: str) -> Quote:
        found = self._overrides.get(model) if self._overrides else None
        if found is not None:
            return found
        found = self._quotes.get((source, model))
        if found is None:
            return self._first(source, model)
        if found.until and found.until <= self._now():
            found.until = 0.0  # one looks it up again, and the old one holds until then
            self._tasks.create_task(self._look_up(found, source, model))
        return found

    def _first(self, source: Source, model: str) -> Quote:
        if source.free:
            return KNOWN_FREE
        if len(self._quotes) >= REMEMBERED:
            del self._quotes[next(iter(self._quotes))]
        quote = self._quotes[source, model] = Quote(ready=False)
        self._tasks.create_task(self._look_up(quote, source, model))
        return quote

    async def _look_up(self, quote: Quote, source: Source, model: str) -> None:
        question = Question(source.kind, source.url, model)
        line = await self._ask(msgspec.json.encode(question))
        try:
            answer = msgspec.json.decode(line or b"", type=Answer)
        except msgspec.DecodeError:
            log.warning("the price of %r cannot be looked up now", model)
            quote.until = self._now() + ASK_AGAIN_S
        else:
            quote.price, quote.until = answer.price, answer.until
            if answer.price is None:
                log.warning("the price of %r at %s is not known", model, source.url or source.kind)
        quote.ready = True


def child(environ: Mapping[str, str]) -> LineChild:
    """Reads the price data. It gets no variable that may hold a key."""
    return LineChild(
        "fleet.proxy.prices_main",
        env={name: environ[name] for name in _PASSED_ON if name in environ},
        idle_s=IDLE_S,
        answer_s=ANSWER_S,
    )
