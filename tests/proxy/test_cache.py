from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fleet.proxy.cache import JITTER, Cache

TTL_S, MOST, MOST_ITEM = 10.0, 100, 30


def _cache(ttl_s: float = TTL_S, most: int = MOST, item: int = MOST_ITEM) -> Cache[str]:
    return Cache(ttl_s=ttl_s, most_bytes=most, most_item_bytes=item)


def test_an_answer_is_given_until_its_time_is_over() -> None:
    cache = _cache()
    assert cache.put("a", "answer", 5, 0.0, random.Random(1))
    assert cache.get("a", TTL_S * (1 - JITTER) - 0.01) == "answer"
    assert cache.get("a", TTL_S * (1 + JITTER)) is None
    assert len(cache) == 0
    assert cache.bytes == 0


def test_what_came_together_does_not_go_together() -> None:
    cache, rng = _cache(most=10_000), random.Random(3)
    for number in range(200):
        cache.put(number, "answer", 1, 0.0, rng)
    alive = [
        sum(cache.get(n, now) is not None for n in range(200)) for now in (8.99, 9.5, 10.5, 11.01)
    ]
    assert alive[0] == 200
    assert 120 < alive[1] < 180
    assert 20 < alive[2] < 80
    assert alive[3] == 0


def test_what_is_used_outlives_what_is_not_when_room_is_short() -> None:
    cache, rng = _cache(), random.Random(1)
    cache.put("used", "1", 10, 0.0, rng)
    cache.put("unused", "2", 10, 0.0, rng)
    for number in range(20):
        assert cache.get("used", 1.0) == "1"
        cache.put(number, "x", 10, 1.0, rng)
    assert cache.get("unused", 1.0) is None
    assert cache.evictions > 0


def test_use_does_not_prolong_an_answers_time() -> None:
    cache, rng = _cache(), random.Random(1)
    cache.put("a", "1", 10, 0.0, rng)
    for step in range(23):
        found = cache.get("a", step / 2)
        cache.put(step, "x", 10, step / 2, rng)
    assert found is None


def test_time_alone_drops_nothing_that_lives_and_all_that_does_not() -> None:
    cache, rng = _cache(), random.Random(1)
    cache.put("a", "1", 5, 0.0, rng)
    cache.put("b", "2", 5, 8.0, rng)
    cache.expire(11.5)
    assert cache.get("b", 11.5) == "2"
    cache.expire(40.0)
    assert (len(cache), cache.bytes, cache.evictions) == (0, 0, 0)


def test_an_answer_over_the_cap_of_an_item_is_not_kept_nor_what_it_replaces() -> None:
    cache, rng = _cache(), random.Random(1)
    assert cache.put("a", "1", MOST_ITEM, 0.0, rng)
    assert not cache.put("a", "2", MOST_ITEM + 1, 0.0, rng)
    assert cache.get("a", 0.0) is None
    assert not _cache(most=20, item=20).put("a", "1", 11, 0.0, rng)  # a generation holds half


def test_use_of_the_old_never_makes_it_more_than_there_is_room_for() -> None:
    cache, rng = _cache(), random.Random(1)
    for number in range(9):
        cache.put(number, "x", 10, 0.0, rng)
    assert cache.bytes == 90
    for number in range(9):
        assert cache.get(number, 1.0) == "x"
    cache.put("new", "x", 20, 1.0, rng)
    assert cache.bytes <= MOST


class AgainstANaiveMap(RuleBasedStateMachine):
    """Whatever is given out is what was last put under that key, and in its time."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = _cache()
        self.rng = random.Random(7)
        self.now = 0.0
        self.puts = 0
        self.last: dict[int, tuple[float, str, int]] = {}

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 9.0, 11.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.integers(0, 8), size=st.integers(0, 40))
    def put(self, key: int, size: int) -> None:
        self.puts += 1
        value = f"{key}/{self.puts}"
        kept = self.cache.put(key, value, size, self.now, self.rng)
        assert kept == (size <= MOST_ITEM)
        self.last.pop(key, None)
        if kept:
            self.last[key] = (self.now, value, size)
            assert self.cache.get(key, self.now) == value

    @rule(key=st.integers(0, 8))
    def get(self, key: int) -> None:
        found = self.cache.get(key, self.now)
        if found is not None:
            since, value, _ = self.last[key]
            assert found == value
            assert self.now - since < TTL_S * (1 + JITTER)

    @rule(key=st.integers(0, 8))
    def drop(self, key: int) -> None:
        self.cache.drop(key)
        self.last.pop(key, None)
        assert self.cache.get(key, self.now) is None

    @rule()
    def expire(self) -> None:
        self.cache.expire(self.now)

    @invariant()
    def holds_what_it_says_and_no_more_than_it_may(self) -> None:
        assert 0 <= self.cache.bytes <= MOST
        held = [self.last[key][2] for key in self.last if self._is_held(key)]
        assert self.cache.bytes == sum(held)
        assert len(self.cache) == len(held)

    @invariant()
    def nothing_young_is_lost_while_there_was_no_want_of_room(self) -> None:
        if self.cache.evictions == 0:
            for key, (since, _, _) in self.last.items():
                assert self._is_held(key) or self.now - since >= TTL_S * (1 - JITTER)

    def _is_held(self, key: int) -> bool:
        return key in self.cache._young or key in self.cache._old


AgainstANaiveMap.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_the_cache_agrees_with_a_naive_map = AgainstANaiveMap.TestCase
