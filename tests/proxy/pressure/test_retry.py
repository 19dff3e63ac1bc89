from __future__ import annotations

import random

import pytest

from fleet.proxy.pressure.retry import CAP_S, RetryBudget, Setback, backoff_s, of_failure, of_status
from fleet.proxy.wire import Failure, Fault


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b"{}", Setback.LIMITED),
        (429, b'{"error":{"code":"insufficient_quota"}}', Setback.SPENT),
        (429, b'{"type":"error","error":{"type": "billing_error"}}', Setback.SPENT),
        (429, b'{"error":{"message":"insufficient_quota is a word"}}', Setback.LIMITED),
        (402, b"", Setback.SPENT),
        (401, b"", Setback.UNAUTHORIZED),
        (403, b"", Setback.UNAUTHORIZED),
        (404, b"", Setback.MISSING),
        (501, b"", Setback.MISSING),
        (400, b"", Setback.FINAL),
        (413, b"", Setback.FINAL),
        (422, b"", Setback.FINAL),
        (408, b"", Setback.SICK),
        (500, b"", Setback.SICK),
        (502, b"", Setback.SICK),
        (529, b"", Setback.SICK),
    ],
)
def test_what_a_status_means(status: int, body: bytes, kind: Setback) -> None:
    assert of_status(status, body) is kind


def test_all_faults_but_our_own_bounds_are_the_upstreams() -> None:
    for fault in Fault:
        expected = Setback.FINAL if fault is Fault.TOO_LARGE else Setback.SICK
        assert of_failure(Failure(fault)) is expected


def test_back_off_is_spread_over_all_of_an_interval_that_doubles() -> None:
    rng = random.Random(1)
    for tries, ceiling in ((1, 0.25), (2, 0.5), (3, 1.0), (9, CAP_S)):
        waits = [backoff_s(tries, rng) for _ in range(2000)]
        assert max(waits) <= ceiling
        assert min(waits) < 0.05 * ceiling
        assert sum(waits) / len(waits) == pytest.approx(ceiling / 2, rel=0.1)


def test_retries_are_a_tenth_of_the_requests_and_ten_always() -> None:
    budget = RetryBudget()
    assert sum(budget.retries(0.0) for _ in range(50)) == 10
    for number in range(500):
        budget.requested(number / 100)
    assert sum(budget.retries(5.0) for _ in range(200)) == 40  # of fifty, ten are gone


def test_a_minute_later_both_are_forgotten() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.requested(0.0)
    assert sum(budget.retries(1.0) for _ in range(300)) == 100
    assert sum(budget.retries(70.0) for _ in range(300)) == 10
