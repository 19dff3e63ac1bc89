from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.proxy.pressure.bucket import Bucket


def test_a_minutes_worth_goes_at_once_and_then_one_by_one() -> None:
    bucket = Bucket(60)
    assert [bucket.take(1, 0.0) for _ in range(61)] == [True] * 60 + [False]
    assert bucket.ready_at(1, 0.0) == pytest.approx(1.0)
    assert not bucket.take(1, 0.99)
    assert bucket.take(1, 1.01)


def test_more_than_it_holds_is_given_when_it_is_full_and_owed_then() -> None:
    bucket = Bucket(60)
    assert bucket.take(120, 0.0)
    assert bucket.level(0.0) == -60
    assert bucket.ready_at(1, 0.0) == pytest.approx(61.0)
    assert bucket.ready_at(120, 0.0) == pytest.approx(120.0)


def test_what_was_guessed_too_high_comes_back() -> None:
    bucket = Bucket(6000)
    bucket.take(6000, 0.0)
    bucket.charge(-4000, 0.0)
    assert bucket.level(0.0) == pytest.approx(4000)
    assert bucket.saturation(0.0) == pytest.approx(1 / 3)


def test_who_must_know_better_lowers_it_and_never_raises_it() -> None:
    bucket = Bucket(60)
    bucket.at_most(10, 0.0)
    assert bucket.level(0.0) == pytest.approx(10)
    bucket.at_most(50, 0.0)
    assert bucket.level(0.0) == pytest.approx(10)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 20)), max_size=200))
def test_no_window_of_time_gives_more_than_a_minutes_worth_and_its_own(
    asks: list[tuple[float, float]],
) -> None:
    """Whatever is asked, in whichever rhythm: what was given by any time is bounded."""
    bucket, now, given_so_far = Bucket(60), 0.0, 0.0
    for pause, cost in asks:
        now += pause
        if bucket.take(cost, now):
            given_so_far += cost
        assert given_so_far <= 60 + now + 20


def test_asking_when_it_is_ready_is_asking_in_vain_never() -> None:
    bucket, now = Bucket(100), 0.0
    for cost in (3.0, 70.0, 50.0, 99.0, 0.5, 130.0, 20.0) * 20:
        now = bucket.ready_at(cost, now) + 1e-9
        assert bucket.take(cost, now)
