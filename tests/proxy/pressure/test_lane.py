from __future__ import annotations

import math
import random

import pytest

from fleet.core.usage import Usage
from fleet.proxy.pressure.breaker import Breaker
from fleet.proxy.pressure.hints import Family, Hints, Level
from fleet.proxy.pressure.lane import UNBOUNDED, Bounds, Lane
from fleet.proxy.pressure.lanes import Lanes
from fleet.proxy.pressure.need import Need, Needs, counted
from fleet.proxy.pressure.pace import CALM_S, RAMP_S, Pace
from fleet.proxy.pressure.share import Shares

NEED = Need(1000.0, 100.0)


def a_lane(bounds: Bounds = UNBOUNDED) -> Lane:
    return Lane("p/0", "m", Breaker(random.Random(1)), bounds)


def test_tokens_that_were_guessed_too_high_come_back() -> None:
    lane = a_lane(Bounds(input=10_000))
    lane.take(Need(10_000, 0), 0.0)
    assert lane.ready_at(Need(5_000, 0), 0.0) == pytest.approx(30.0)
    lane.give_back(Need(10_000, 0), Need(2_000, 0), 0.0)
    assert lane.ready_at(Need(5_000, 0), 0.0) == 0.0


def test_a_persons_limit_stands_whatever_the_provider_says() -> None:
    lane = a_lane(Bounds(requests=10))
    lane.learn(Hints({Family.REQUESTS: Level(1000, 999, None)}), 0.0)
    for _ in range(10):
        lane.take(NEED, 0.0)
    assert lane.ready_at(NEED, 0.0) == pytest.approx(6.0)


def test_limits_that_are_set_anew_hold_at_once_and_what_was_used_stays_used() -> None:
    lane = a_lane(Bounds(requests=10))
    for _ in range(10):
        lane.take(NEED, 0.0)
    lane.set_bounds(Bounds(requests=20))
    assert lane.ready_at(NEED, 0.0) == pytest.approx(3.0)
    lane.set_bounds(UNBOUNDED)
    assert lane.ready_at(NEED, 0.0) == 0.0
    assert lane.is_free


def test_a_429_halves_how_many_go_at_a_time_once_for_all_that_were_under_way() -> None:
    pace = Pace()
    for _ in range(8):
        pace.refused(sent_at=1.0, in_flight=16, now=2.0, resumes_at=10.0)
    assert pace.bound == 8
    pace.refused(sent_at=11.0, in_flight=8, now=12.0, resumes_at=20.0)
    assert pace.bound == 4


def test_after_a_pause_it_begins_with_one_and_rises_within_seconds() -> None:
    pace = Pace()
    pace.refused(sent_at=1.0, in_flight=20, now=2.0, resumes_at=10.0)
    assert pace.allowed(10.0) == 1.0
    assert pace.allowed(10.0 + RAMP_S / 2) == pytest.approx(5.5)
    assert pace.allowed(10.0 + RAMP_S) == 10.0
    assert 10.0 < pace.next_step(10.0) < 10.0 + RAMP_S
    assert pace.next_step(10.0 + RAMP_S) == math.inf


def test_good_answers_raise_it_by_one_a_round_and_calm_forgets_it() -> None:
    pace = Pace()
    pace.refused(sent_at=1.0, in_flight=8, now=2.0, resumes_at=3.0)
    for _ in range(4):
        pace.answered(10.0)
    assert pace.bound == pytest.approx(5.0, abs=0.15)
    pace.answered(2.0 + CALM_S + 1)
    assert pace.is_free


def test_a_condemned_key_is_so_for_every_model_also_for_new_ones() -> None:
    lanes = Lanes(lambda *_: UNBOUNDED, random.Random(1))
    one, other = lanes.of("p/0", "p@0", "m"), lanes.of("p/1", "p@0", "m")
    lanes.condemn("p/0", 0.0, "bad")
    assert one.ready_at(NEED, 0.0) > 0.0
    assert lanes.of("p/0", "p@0", "new").ready_at(NEED, 0.0) > 0.0
    assert other.ready_at(NEED, 0.0) == 0.0
    lanes.pardon()
    assert one.ready_at(NEED, 0.0) == 0.0


def test_names_that_agents_invent_are_forgotten_and_what_matters_is_not() -> None:
    lanes = Lanes(lambda *_: UNBOUNDED, random.Random(1))
    busy, blocked = lanes.of("p/0", "p@0", "busy"), lanes.of("p/0", "p@0", "blocked")
    busy.take(NEED, 0.0)
    blocked.block(1e9, "why")
    for number in range(10_000):
        lanes.of("p/0", "p@0", f"model-{number}")
    assert len(list(lanes)) < 4000
    assert lanes.of("p/0", "p@0", "busy") is busy
    assert lanes.of("p/0", "p@0", "blocked") is blocked


def test_the_next_request_of_a_conversation_is_guessed_from_its_last() -> None:
    needs = Needs()
    first = needs.guess("a", "p/0", "m", size=80_000, most=64_000, reserves=False)
    assert first == Need(20_000, 1024)
    used = Usage(input=100, cache_read=15_000, cache_write_5m=4_900, output=300)
    needs.used("a", "p/0", "m", size=80_000, usage=used)
    assert needs.guess("a", "p/0", "m", size=84_000, most=64_000, reserves=False) == (1000, 600)
    assert needs.guess("a", "p/0", "m", size=84_000, most=64_000, reserves=True).output == 64_000
    assert needs.guess("b", "p/0", "m", size=4_000, most=200, reserves=False) == (1000, 200)
    assert counted(used) == (5_000, 300)


def test_an_agent_alone_is_never_above_its_share_and_shares_are_of_late() -> None:
    shares = Shares()
    for _ in range(100):
        shares.used("a", 1.0, 0.0)
    assert not shares.is_over("a", 0.0)
    shares.used("b", 1.0, 0.0)
    assert shares.is_over("a", 0.0)
    assert not shares.is_over("b", 0.0)
    shares.used("a", 1.0, 30.0)
    assert not shares.is_over("a", 30.0)  # the other is gone
