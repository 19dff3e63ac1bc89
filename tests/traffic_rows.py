"""Rows of model traffic for tests, with defaults for what a test does not care about."""

from __future__ import annotations

import random

from fleet.core.traffic import Call, Ended, Served
from fleet.core.usage import NOTHING, Usage

AT = 1_750_000_000.0


def a_call(id_: int = 1, **fields: object) -> Call:
    call = Call(
        id=id_,
        at=AT,
        task="one",
        epoch=1,
        agent="mini",
        upstream="anthropic",
        model="claude-sonnet-4-5",
        answered_model="claude-sonnet-4-5-20250929",
        endpoint="messages",
        status=200,
        ended=Ended.COMPLETE,
        fault="",
        usage=Usage(input=100, cache_read=300, output=20, reasoning=5),
        cost=1_234_567,
        priced=True,
        first_byte_s=0.2,
        total_s=1.5,
        bytes_in=2000,
        bytes_out=5000,
    )
    return call._replace(**fields)  # type: ignore[arg-type]


def a_served(**fields: object) -> Served:
    served = Served(
        at=AT,
        task="one",
        epoch=1,
        agent="mini",
        session="s",
        endpoint="messages",
        model="claude-sonnet-4-5",
        dedup="leader",
        call=1,
        status=200,
        gone=False,
        bytes=2000,
        saved=NOTHING,
        saved_cost=0,
        wait_s=0.0,
        total_s=1.5,
    )
    return served._replace(**fields)  # type: ignore[arg-type]


def a_usage(rng: random.Random, most: int = 300_000) -> Usage:
    return Usage(
        input=rng.randrange(most),
        cache_read=rng.randrange(most),
        cache_write_5m=rng.randrange(most),
        cache_write_1h=rng.randrange(most),
        output=rng.randrange(most),
        reasoning=rng.randrange(1000),
        estimated=rng.random() < 0.1,
    )


def some_rows(rng: random.Random, count: int) -> list[Call | Served]:
    """Every kind of them; a call now and then, and requests that share its answer."""
    rows: list[Call | Served] = []
    calls = 0
    for number in range(count):
        model = rng.choice(("claude-sonnet-4-5", "gpt-5", "local"))
        task = rng.choice(("one", "two"))
        agent = rng.choice(("mini", "claude"))
        at = AT + number
        if rng.random() < 0.4:
            calls += 1
            ended = rng.choice(tuple(Ended))
            usage = a_usage(rng) if ended is Ended.COMPLETE else NOTHING
            priced = model != "local"
            cost = rng.randrange(10**9) if priced and usage else 0
            rows.append(
                a_call(
                    calls,
                    at=at,
                    task=task,
                    agent=agent,
                    model=model,
                    ended=ended,
                    usage=usage,
                    cost=cost,
                    priced=priced,
                )
            )
            continue
        dedup = rng.choice(("leader", "joined", "replayed", "bypass:off", "bypass:store", ""))
        shared = dedup in ("joined", "replayed")
        priced = model != "local" or not shared
        rows.append(
            a_served(
                at=at,
                task=task,
                agent=agent,
                model=model,
                dedup=dedup,
                call=calls,
                gone=rng.random() < 0.2,
                saved=a_usage(rng) if shared else NOTHING,
                saved_cost=rng.randrange(10**9) if shared and priced else 0,
                priced=priced,
            )
        )
    return rows
