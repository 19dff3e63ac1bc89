from __future__ import annotations

import random

import pytest

from fleet.core.traffic import NANO
from fleet.core.usage import Usage
from fleet.proxy.pressure.budget import Account, Budget, Limits, Scope, Verdict, most
from fleet.proxy.pricing import cost, per_million

PRICE = per_million(input=3, output=15, cache_read=0.3, cache_write=3.75)
RUN = Account(Scope.RUN, "")


def accounts(budget: Budget, task: str = "t", agent: str = "a") -> tuple[Account, ...]:
    return budget.accounts(task=task, agent=agent, day="2026-01-01")


def test_what_is_set_aside_counts_until_it_is_settled() -> None:
    budget = Budget(Limits(run=100))
    who = accounts(budget)
    assert budget.reserve(1, 60, who, None).verdict is Verdict.GRANTED
    assert budget.reserve(2, 60, who, None).verdict is Verdict.WAIT
    budget.settle(1, 10, None)
    assert budget.reserve(2, 60, who, None).verdict is Verdict.GRANTED
    assert (budget.spent(RUN), budget.aside) == (10, 60)


def test_what_can_never_fit_is_refused_and_says_whose_limit_it_is() -> None:
    budget = Budget(Limits(run=1000, task=100))
    who = accounts(budget)
    budget.reserve(1, 90, who, None)
    budget.settle(1, 90, None)
    answer = budget.reserve(2, 20, who, None)
    assert answer == (Verdict.SPENT, Account(Scope.TASK, "t"), 90, 100)
    assert budget.reserve(3, 20, accounts(budget, task="u"), None).verdict is Verdict.GRANTED


def test_all_of_its_accounts_are_charged_or_none() -> None:
    budget = Budget(Limits(run=100, agent=50))
    assert budget.reserve(1, 60, accounts(budget), None).verdict is Verdict.SPENT
    assert budget.aside == 0
    assert budget.reserve(2, 100, accounts(budget, agent=""), None).verdict is Verdict.GRANTED


def test_a_tasks_own_budget_goes_before_the_usual_one() -> None:
    budget = Budget(Limits(task=100))
    assert budget.reserve(1, 150, accounts(budget), 200).verdict is Verdict.GRANTED
    assert budget.reserve(2, 60, accounts(budget, task="u"), 50).verdict is Verdict.SPENT


def test_marks_are_told_once_and_the_higher_one_goes_before_the_lower() -> None:
    budget = Budget(Limits(run=100))
    who = accounts(budget)
    told = []
    for number in range(20):
        budget.reserve(number, 5, who, None)
        told += budget.settle(number, 5, None)
    assert [(mark.share, mark.spent) for mark in told] == [(0.80, 80), (0.95, 95)]
    budget = Budget(Limits(run=100))
    budget.reserve(1, 99, who, None)
    assert [mark.share for mark in budget.settle(1, 99, None)] == [0.95]
    budget.reserve(2, 1, who, None)
    assert budget.settle(2, 0, None) == []


def test_a_new_run_begins_with_nothing_spent_and_what_is_under_way_set_aside() -> None:
    budget = Budget(Limits(run=100))
    budget.reserve(1, 40, accounts(budget), None)
    budget.begin([(RUN, 0)], forget=(Scope.RUN,))
    assert budget.reserve(2, 70, accounts(budget), None).verdict is Verdict.WAIT
    budget.settle(1, 30, None)
    assert budget.spent(RUN) == 30


def test_whatever_happens_in_whatever_order_no_limit_is_ever_passed() -> None:
    rng = random.Random(7)
    budget = Budget(Limits(run=50_000, task=8_000, agent=30_000))
    under_way: dict[int, int] = {}
    tasks = [f"t{number}" for number in range(9)]
    for number in range(20_000):
        task = rng.choice(tasks)
        amount = rng.randrange(1, 900)
        who = accounts(budget, task, f"a{int(task[1:]) % 2}")
        if budget.reserve(number, amount, who, None).verdict is Verdict.GRANTED:
            under_way[number] = amount
        while under_way and rng.random() < 0.5:
            done = rng.choice(list(under_way))
            budget.settle(done, rng.randrange(under_way.pop(done) + 1), None)
        assert budget.spent(RUN) + budget.aside <= 50_000
    for scope, name, limit in (("task", "t1", 8_000), ("agent", "a0", 30_000), ("run", "", 50_000)):
        assert budget.spent(Account(Scope(scope), name)) <= limit
    assert budget.spent(RUN) > 49_000


@pytest.mark.parametrize("size", [0, 1, 3_000, 1_000_000])
@pytest.mark.parametrize("output", [0, 1, 64_000])
def test_the_most_is_no_less_than_any_answer_costs(size: int, output: int) -> None:
    bound = most(PRICE, size=size, output=output)
    tokens = size // 3
    for share in (0.0, 0.3, 1.0):
        written, read = int(tokens * share), int(tokens * (1 - share))
        used = Usage(cache_write_5m=written, cache_read=read, output=output)
        assert cost(used, PRICE) <= bound


def test_the_most_of_a_long_answer_is_in_dollars_what_one_would_expect() -> None:
    assert most(PRICE, size=300_000, output=64_000) / NANO == pytest.approx(0.375 + 0.96)
