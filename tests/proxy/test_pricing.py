from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider
from genai_prices.types import Usage as Theirs

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.prices_main import UNMETERED, answer, price_of
from fleet.proxy.pricing import (
    ASK_AGAIN_S,
    ATTO_PER_MILLION,
    FREE,
    REMEMBERED,
    Answer,
    Price,
    Prices,
    Question,
    Source,
    Tier,
    child,
    cost,
)
from tests.traffic_rows import a_usage

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
ANTHROPIC = Source("anthropic", "https://api.anthropic.com")


def a_price(dollars: int = 1, tiers: tuple[Tier, ...] = ()) -> Price:
    unit = dollars * ATTO_PER_MILLION
    return Price(
        input=unit,
        output=5 * unit,
        cache_read=unit // 10,
        cache_write_5m=unit * 5 // 4,
        cache_write_1h=2 * unit,
        tiers=tiers,
    )


# -- the maths -----------------------------------------------------------------------------------


def test_a_million_tokens_cost_what_the_list_says() -> None:
    million, price = 10**6, a_price(3)
    assert cost(Usage(input=million), price) == 3 * 10**9
    assert cost(Usage(output=million), price) == 15 * 10**9
    assert cost(Usage(cache_read=million), price) == 3 * 10**8
    assert cost(Usage(cache_write_5m=million), price) == 375 * 10**7
    assert cost(Usage(cache_write_1h=million), price) == 6 * 10**9
    assert cost(NOTHING, price) == 0


def test_reasoning_is_part_of_the_output_and_not_paid_twice() -> None:
    assert cost(Usage(output=50, reasoning=40), a_price()) == cost(Usage(output=50), a_price())


def test_a_cost_is_rounded_once_to_the_nearest_nano_dollar() -> None:
    price = Price(
        input=500_000_000, output=499_999_999, cache_read=0, cache_write_5m=0, cache_write_1h=0
    )
    assert cost(Usage(input=1), price) == 1
    assert cost(Usage(output=1), price) == 0
    assert cost(Usage(input=1, output=1), price) == 1
    assert cost(Usage(input=3), price) == 2


def test_a_tier_holds_for_all_tokens_of_a_call_above_its_start() -> None:
    price = a_price(1, (Tier(200_000, a_price(2)), Tier(500_000, a_price(4))))
    assert cost(Usage(input=200_000), price) == 200_000 * 1000
    assert cost(Usage(input=200_001), price) == 200_001 * 2000
    assert cost(Usage(cache_read=200_000, output=1000, input=1), price) == (
        200_000 * 200 + 2000 + 1000 * 10_000
    )
    assert cost(Usage(input=500_001), price) == 500_001 * 4000


# -- the data ------------------------------------------------------------------------------------


def their_usage(usage: Usage) -> Theirs:
    return Theirs(
        input_tokens=usage.total_input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write_5m + usage.cache_write_1h,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
    )


def all_models() -> list[tuple[Provider, ModelInfo]]:
    return [(provider, model) for provider in get_snapshot().providers for model in provider.models]


def says_what_writes_cost(prices: ModelPrice) -> bool:
    return prices.cache_write_mtok is not None and prices.cache_write_1h_mtok is not None


def test_every_model_costs_what_the_library_says() -> None:
    rng = random.Random(3)
    compared = 0
    for provider, model in all_models():
        prices = model.get_prices(NOW)
        price = price_of(prices, provider.id)
        if price is None or (provider.id == "anthropic" and not says_what_writes_cost(prices)):
            continue
        for most in (1000, 300_000):
            usage = a_usage(rng, most)
            theirs = prices.calc_price(their_usage(usage))["total_price"] * 10**9
            assert abs(Decimal(cost(usage, price)) - theirs) < 1, (provider.id, model.id, usage)
            compared += 1
    assert compared > 1000


def test_tiers_begin_where_the_library_begins_them() -> None:
    compared = 0
    for provider, model in all_models():
        prices = model.get_prices(NOW)
        price = price_of(prices, provider.id)
        for tier in price.tiers if price is not None else ():
            assert price is not None
            for tokens in (tier.above, tier.above + 1):
                usage = Usage(input=tokens, output=7)
                theirs = prices.calc_price(their_usage(usage))["total_price"] * 10**9
                assert abs(Decimal(cost(usage, price)) - theirs) < 1, (model.id, tokens)
                compared += 1
    assert compared > 20


def test_cache_writes_of_anthropic_have_their_multiples_where_the_data_is_silent() -> None:
    found = price_of(ModelPrice(input_mtok=Decimal(8), output_mtok=Decimal(24)), "anthropic")
    assert found is not None
    assert found.cache_write_5m == 10 * ATTO_PER_MILLION
    assert found.cache_write_1h == 16 * ATTO_PER_MILLION
    other = price_of(ModelPrice(input_mtok=Decimal(8), output_mtok=Decimal(24)), "openai")
    assert other is not None
    assert other.cache_write_5m == other.cache_write_1h == 8 * ATTO_PER_MILLION


@pytest.mark.parametrize("key", UNMETERED)
def test_what_is_billed_by_things_no_meter_sees_has_no_price(key: str) -> None:
    usual = {"input_mtok": Decimal(1), "output_mtok": Decimal(1)}
    assert price_of(ModelPrice(**usual), "perplexity") is not None
    assert price_of(ModelPrice(**usual, **{key: Decimal(1)}), "perplexity") is None


@pytest.mark.parametrize(
    ("question", "known"),
    [
        (Question("anthropic", "https://api.anthropic.com", "claude-sonnet-4-5"), True),
        (Question("anthropic", "", "claude-sonnet-4-5-20250929"), True),
        (Question("anthropic", "https://llm.example.com", "claude-sonnet-4-5"), True),
        (Question("openai", "https://api.openai.com", "gpt-5"), True),
        (Question("openai", "https://api.deepseek.com", "deepseek-chat"), True),
        (Question("gemini", "", "gemini-2.5-pro"), True),
        (Question("openai", "https://api.openai.com", "deepseek-chat"), False),
        (Question("anthropic", "", "claude-that-never-was"), False),
        (Question("other", "", "gpt-5"), False),
        (Question("openai", "", ""), False),
    ],
)
def test_a_model_is_found_at_who_serves_it(question: Question, known: bool) -> None:
    assert (answer(question, NOW).price is not None) is known


def test_a_price_that_changes_says_until_when_it_holds() -> None:
    changing = Question("anthropic", "", "claude-sonnet-4-6")
    before = answer(changing, NOW)
    assert before.until > NOW.timestamp()
    turn = datetime.fromtimestamp(before.until, UTC)
    assert answer(changing, turn - timedelta(seconds=1)).price == before.price
    assert answer(changing, turn).price != before.price
    assert answer(Question("openai", "", "gpt-5"), NOW).until == 0.0


def test_a_price_by_the_hour_says_when_the_next_begins() -> None:
    daily = Question("openai", "https://api.deepseek.com", "deepseek-chat")
    found = answer(daily, NOW)
    assert 0 < found.until - NOW.timestamp() <= 86_400


# -- asking --------------------------------------------------------------------------------------


class Lookups:
    """A child that answers when it is told to."""

    def __init__(self, *answers: Answer | None) -> None:
        self.asked: list[Question] = []
        self.answers = list(answers)
        self.go = asyncio.Event()

    async def ask(self, line: bytes) -> bytes | None:
        self.asked.append(msgspec.json.decode(line, type=Question))
        await self.go.wait()
        found = self.answers.pop(0)
        return None if found is None else msgspec.json.encode(found)


def test_nobody_waits_for_a_price_and_it_is_looked_up_once() -> None:
    async def story() -> None:
        lookups = Lookups(Answer(a_price(3)))
        async with asyncio.TaskGroup() as tasks:
            prices = Prices(lookups.ask, tasks=tasks)
            first = prices.quote(ANTHROPIC, "m")
            assert not first.ready
            assert not first.priced
            assert first.cost(Usage(input=5)) == 0
            assert prices.quote(ANTHROPIC, "m") is first
            lookups.go.set()
        assert first.ready
        assert first.cost(Usage(input=10**6)) == 3 * 10**9
        assert prices.quote(ANTHROPIC, "m") is first
        assert [question.model for question in lookups.asked] == ["m"]

    asyncio.run(story())


def test_an_unknown_model_has_no_price_rather_than_none_to_pay() -> None:
    async def story() -> None:
        lookups = Lookups(Answer(None))
        lookups.go.set()
        async with asyncio.TaskGroup() as tasks:
            quote = Prices(lookups.ask, tasks=tasks).quote(ANTHROPIC, "m")
        assert quote.ready
        assert not quote.priced

    asyncio.run(story())


def test_what_is_free_or_set_by_hand_is_not_looked_up() -> None:
    async def story() -> None:
        lookups = Lookups()
        async with asyncio.TaskGroup() as tasks:
            prices = Prices(lookups.ask, tasks=tasks, overrides={"mine": a_price(7)})
            free = prices.quote(Source("script", free=True), "anything")
            mine = prices.quote(ANTHROPIC, "mine")
        assert free.priced
        assert free.price == FREE
        assert mine.ready
        assert mine.price == a_price(7)
        assert lookups.asked == []

    asyncio.run(story())


def test_a_price_that_has_run_out_holds_until_the_new_one_is_known() -> None:
    async def story() -> None:
        now = 100.0
        lookups = Lookups(Answer(a_price(1), until=200.0), Answer(a_price(2)))
        lookups.go.set()
        async with asyncio.TaskGroup() as tasks:
            prices = Prices(lookups.ask, tasks=tasks, now=lambda: now)
            quote = prices.quote(ANTHROPIC, "m")
        async with asyncio.TaskGroup() as tasks:
            prices._tasks = tasks
            assert prices.quote(ANTHROPIC, "m").until == 200.0
            now = 200.0
            for _ in range(3):
                assert prices.quote(ANTHROPIC, "m").price == a_price(1)
        assert quote.price == a_price(2)
        assert len(lookups.asked) == 2

    asyncio.run(story())


def test_a_child_that_fails_is_asked_again_later() -> None:
    async def story() -> None:
        now = 100.0
        lookups = Lookups(None, Answer(a_price(1)))
        lookups.go.set()
        async with asyncio.TaskGroup() as tasks:
            prices = Prices(lookups.ask, tasks=tasks, now=lambda: now)
            quote = prices.quote(ANTHROPIC, "m")
        assert quote.ready
        assert not quote.priced
        async with asyncio.TaskGroup() as tasks:
            prices._tasks = tasks
            prices.quote(ANTHROPIC, "m")
            assert len(lookups.asked) == 1
            now += ASK_AGAIN_S
            prices.quote(ANTHROPIC, "m")
        assert quote.priced

    asyncio.run(story())


def test_names_that_agents_invent_are_forgotten() -> None:
    async def story() -> None:
        async def none(_: bytes) -> bytes | None:
            return msgspec.json.encode(Answer(None))

        async with asyncio.TaskGroup() as tasks:
            prices = Prices(none, tasks=tasks)
            first = prices.quote(ANTHROPIC, "0")
            for number in range(REMEMBERED):
                prices.quote(ANTHROPIC, f"{number}")
            assert prices.quote(ANTHROPIC, "0") is first
            prices.quote(ANTHROPIC, "one more")
            assert prices.quote(ANTHROPIC, "0") is not first

    asyncio.run(story())


def test_the_real_child_knows_real_prices_and_no_keys() -> None:
    async def story() -> None:
        environ = {**os.environ, "ANTHROPIC_API_KEY": "canary"}
        async with child(environ) as asked:
            assert "ANTHROPIC_API_KEY" not in asked._env
            async with asyncio.TaskGroup() as tasks:
                prices = Prices(asked.ask, tasks=tasks)
                sonnet = prices.quote(ANTHROPIC, "claude-sonnet-4-5")
                nobody = prices.quote(ANTHROPIC, "claude-that-never-was")
        assert sonnet.cost(Usage(input=1000, output=100)) == 4_500_000
        assert nobody.ready
        assert not nobody.priced

    asyncio.run(story())


def test_the_proxy_does_not_import_the_price_data() -> None:
    code = "import json, sys, fleet.proxy.pricing; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = json.loads(done.stdout)
    assert "fleet.proxy.pricing" in loaded
    assert not [name for name in loaded if name.startswith(("genai_prices", "pydantic"))]
