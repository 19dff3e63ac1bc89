from __future__ import annotations

import random

import pytest

from fleet.core.traffic import Ended, Totals, fold
from fleet.core.usage import NOTHING, Usage
from tests.traffic_rows import a_call, a_served, some_rows


def test_sums_of_parts_are_the_sum_of_the_whole() -> None:
    rng = random.Random(1)
    for _ in range(20):
        rows = some_rows(rng, 60)
        cut = rng.randrange(60)
        assert fold(rows[:cut]) + fold(rows[cut:]) == fold(rows)


def test_the_order_of_rows_does_not_matter() -> None:
    rng = random.Random(2)
    rows = some_rows(rng, 100)
    mixed = rows[:]
    rng.shuffle(mixed)
    assert fold(mixed) == fold(rows)


def test_nothing_comes_to_nothing() -> None:
    assert fold([]) == Totals()
    assert Totals().cache_hit_share == 0.0


def test_each_request_is_counted_under_what_became_of_it() -> None:
    found = fold(
        a_served(dedup=dedup)
        for dedup in ("leader", "joined", "joined", "replayed", "bypass:off", "bypass:store", "")
    )
    assert (found.requests, found.led, found.joined, found.replayed) == (7, 1, 2, 1)
    assert (found.bypassed, found.turned_away) == (2, 1)


def test_the_cache_hit_share_is_of_all_kinds_of_input() -> None:
    used = Usage(input=100, cache_read=600, cache_write_5m=200, cache_write_1h=100, output=9)
    assert fold([a_call(usage=used)]).cache_hit_share == pytest.approx(0.6)


def test_a_call_that_used_nothing_is_not_unpriced() -> None:
    rows = [a_call(1, priced=False, cost=0), a_call(2, priced=False, cost=0, usage=NOTHING)]
    assert fold(rows).unpriced == 1


def test_a_sum_with_an_estimate_in_it_is_an_estimate() -> None:
    rows = [a_call(1), a_call(2, ended=Ended.CUT, usage=Usage(output=3, estimated=True))]
    found = fold(rows)
    assert found.usage.estimated
    assert found.incomplete == 1
