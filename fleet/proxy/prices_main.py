"""`python -m fleet.proxy.prices_main`: prices, one line of JSON for each that comes in.

Never imported by the proxy: the data takes 17 MB and 0.3 s. It ends when its input does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import msgspec
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import Tier as Tiered

from fleet.proxy.pricing import ATTO_PER_MILLION, Answer, Price, Question, Tier

PROVIDERS = {"anthropic": "anthropic", "openai": "openai", "gemini": "google"}
ANTHROPIC = "anthropic"
DAY = timedelta(days=1)
WRITE_5M, WRITE_1H = Decimal("1.25"), Decimal(2)  # Anthropic's, of what input costs
USED = ("input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h")
# What a call of ours may be billed by and our meters do not see: such a model has no price here.
UNMETERED = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")


def answer(question: Question, now: datetime) -> Answer:
    found = find(question)
    if found is None:
        return Answer(None)
    provider, model = found
    prices = model.get_prices(now)
    return Answer(price_of(prices, provider.id), _until(model, now))


def find(question: Question) -> tuple[Provider, ModelInfo] | None:
    """By the address if it is a known provider's, else in the list of the kind."""
    data = get_snapshot()
    id_ = _provider_at(data, question.url) or PROVIDERS.get(question.kind)
    if id_ is None or not question.model:
        return None
    try:
        return data.find_provider_model(question.model, None, id_, None)
    except LookupError:
        return None


def _provider_at(data: DataSnapshot, url: str) -> str | None:
    if not url:
        return None
    try:
        return data.find_provider(None, None, url).id
    except LookupError:
        return None


def price_of(prices: ModelPrice, provider: str) -> Price | None:
    """What each kind of token costs, at every size of a call."""
    if prices.input_mtok is None or any(getattr(prices, key) is not None for key in UNMETERED):
        return None
    found = [getattr(prices, f"{name}_mtok") for name in USED]
    starts = sorted({tier.start for each in found for tier in _tiers(each)})
    tiers = tuple(Tier(start, _at(prices, start + 1, provider)) for start in starts)
    return replace(_at(prices, 0, provider), tiers=tiers)


def _at(prices: ModelPrice, tokens: int, provider: str) -> Price:
    """For a call of so many tokens of input. What has no price of its own is billed as what it is
    a kind of, but for Anthropic's cache writes."""
    fresh, output, read, write, write_5m, write_1h = (
        _rate(getattr(prices, f"{name}_mtok"), tokens) for name in USED
    )
    assert fresh is not None
    anthropic = provider == ANTHROPIC
    if write is None:
        write = fresh * WRITE_5M if anthropic else fresh
    if write_1h is None:
        write_1h = fresh * WRITE_1H if anthropic else write
    return Price(
        input=_atto(fresh),
        output=_atto(output or Decimal(0)),
        cache_read=_atto(fresh if read is None else read),
        cache_write_5m=_atto(write if write_5m is None else write_5m),
        cache_write_1h=_atto(write_1h),
    )


def _tiers(value: Decimal | TieredPrices | None) -> Sequence[Tiered]:
    return value.tiers if isinstance(value, TieredPrices) else ()


def _rate(value: Decimal | TieredPrices | None, tokens: int) -> Decimal | None:
    if not isinstance(value, TieredPrices):
        return value
    found = value.base
    for tier in value.tiers:
        if tokens > tier.start:
            found = tier.price
    return found


def _atto(dollars_per_million: Decimal) -> int:
    return int((dollars_per_million * ATTO_PER_MILLION).to_integral_value())


# -- until when --------------------------------------------------------------------------------


def _until(model: ModelInfo, now: datetime) -> float:
    """When the price may be another; 0: never."""
    if isinstance(model.prices, ModelPrice):
        return 0.0
    turns = [turn for each in model.prices for turn in _turns(each.constraint, now)]
    return min((turn.timestamp() for turn in turns if turn > now), default=0.0)


def _turns(
    constraint: StartDateConstraint | TimeOfDateConstraint | None, now: datetime
) -> Iterator[datetime]:
    if isinstance(constraint, StartDateConstraint):
        yield datetime.combine(constraint.start_date, time(), UTC)
    elif isinstance(constraint, TimeOfDateConstraint):
        for daily in (constraint.start_time, constraint.end_time):
            aware = daily if daily.tzinfo else daily.replace(tzinfo=UTC)
            today = datetime.combine(now.date(), aware)
            yield from (today - DAY, today, today + DAY, today + 2 * DAY)


def main() -> None:
    ask, tell = msgspec.json.Decoder(Question), msgspec.json.Encoder()
    for line in sys.stdin.buffer:
        found = answer(ask.decode(line), datetime.now(UTC))
        sys.stdout.buffer.write(tell.encode(found) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
