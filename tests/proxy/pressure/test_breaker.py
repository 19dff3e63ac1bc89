from __future__ import annotations

import math
import random

import pytest

from fleet.proxy.pressure.breaker import IN_A_ROW, PROBES, Breaker, State


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(random.Random(1))
    for _ in range(IN_A_ROW):
        breaker.failed(breaker.began(now), now, "first-byte")
    assert breaker.state is State.OPEN
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_between_does_not() -> None:
    breaker = Breaker(random.Random(1))
    for turn in range(40):
        began = breaker.began(0.0)
        good = turn % 5 >= 3  # two good ones after three bad ones: in the window 60 % fail
        turned = breaker.succeeded(began, 0.0) if good else breaker.failed(began, 0.0, "reset")
        if turned:
            break
    assert turn == 10  # by their rate, not before there are ten of them
    assert "calls failed" in breaker.why
    assert "failures in a row" in opened().why


def test_it_is_open_for_a_minute_and_twice_as_long_each_time_it_fails_again() -> None:
    breaker, now = opened(), 0.0
    for times in range(9):
        ready = breaker.ready_at(now)
        length = 60.0 * 2 ** min(times, 6)
        assert 0.8 * length <= ready - now <= 1.2 * length
        now = ready
        assert breaker.failed(breaker.began(now), now, "connect")


def test_so_many_callers_at_half_open_so_few_probes() -> None:
    breaker = opened()
    now = breaker.ready_at(0.0)
    reached = 0
    for _ in range(200):
        if breaker.ready_at(now) <= now:
            breaker.began(now)
            reached += 1
    assert reached == PROBES == 3
    assert breaker.ready_at(now) == math.inf


def test_three_good_probes_close_it() -> None:
    breaker = opened()
    now = breaker.ready_at(0.0)
    probes = [breaker.began(now) for _ in range(3)]
    assert [breaker.succeeded(probe, now) for probe in probes] == [False, False, True]
    assert (breaker.state, breaker.ready_at(now), breaker.why) == (State.CLOSED, now, "")


def test_one_bad_probe_among_good_ones_needs_four_good_ones_of_five() -> None:
    breaker = opened()
    now = breaker.ready_at(0.0)
    assert not breaker.succeeded(breaker.began(now), now)
    assert not breaker.failed(breaker.began(now), now, "reset")
    assert not breaker.succeeded(breaker.began(now), now)  # 2 of 3
    assert not breaker.succeeded(breaker.began(now), now)  # 3 of 4
    assert breaker.succeeded(breaker.began(now), now)  # 4 of 5
    assert breaker.state is State.CLOSED


def test_a_cancelled_probe_is_no_verdict_and_gives_its_place_back() -> None:
    breaker = opened()
    now = breaker.ready_at(0.0)
    probes = [breaker.began(now) for _ in range(3)]
    breaker.said_nothing(probes[0])
    assert (breaker.state, breaker.ready_at(now)) == (State.HALF_OPEN, now)
    for _ in range(50):
        breaker.said_nothing(breaker.began(now))
    assert breaker.state is State.HALF_OPEN


def test_results_of_calls_from_before_it_opened_do_not_count() -> None:
    breaker = Breaker(random.Random(1))
    late = [breaker.began(0.0) for _ in range(3)]
    for _ in range(IN_A_ROW):
        breaker.failed(breaker.began(0.0), 0.0, "idle")
    now = breaker.ready_at(0.0)
    breaker.began(now)
    for began in late:
        assert not breaker.succeeded(began, now)
    assert breaker.state is State.HALF_OPEN


@pytest.mark.parametrize("share", [0.3, 0.45])
def test_fewer_failures_than_half_leave_it_closed(share: float) -> None:
    breaker, rng = Breaker(random.Random(1)), random.Random(2)
    in_a_row = 0
    for _ in range(2000):
        bad = rng.random() < share and in_a_row < IN_A_ROW - 1
        in_a_row = in_a_row + 1 if bad else 0
        began = breaker.began(0.0)
        breaker.failed(began, 0.0, "reset") if bad else breaker.succeeded(began, 0.0)
    assert breaker.state is State.CLOSED
