from __future__ import annotations

import random
from collections import Counter

import pytest

from fleet.proxy.pressure.line import AGING_S, WEIGHTS, Line, Waiting
from fleet.proxy.stage import Priority


def waiting(
    agent: str, since: float = 0.0, level: Priority = Priority.NORMAL, size: int = 1
) -> Waiting[str]:
    return Waiting(f"{agent}@{since:g}", agent, level, since, cost=1.0, size=size)


def order(line: Line[str], now: float = 0.0) -> list[str]:
    found = []
    while (first := line.first(now)) is not None:
        line.went(first)
        found.append(first.item)
    return found


def test_the_urgent_first_and_of_equals_the_oldest() -> None:
    line: Line[str] = Line()
    for number, level in enumerate((Priority.LOW, Priority.HIGH, Priority.NORMAL, Priority.HIGH)):
        line.push(waiting("a", number / 100, level))
    assert order(line) == ["a@0.01", "a@0.03", "a@0.02", "a@0"]


def test_one_rises_a_level_for_every_so_many_seconds() -> None:
    line: Line[str] = Line()
    line.push(waiting("old", 0.0, Priority.LOW))
    line.push(waiting("new", 3 * AGING_S + 1, Priority.HIGH))
    assert order(line, 3 * AGING_S + 1) == ["old@0", f"new@{3 * AGING_S + 1:g}"]


def test_agents_take_turns_however_much_one_of_them_asks() -> None:
    line: Line[str] = Line()
    for number in range(20):
        line.push(waiting("greedy", number / 1000))
    line.push(waiting("modest", 0.5))
    line.push(waiting("modest", 0.6))
    turns = [item.partition("@")[0] for item in order(line)]
    assert turns[:4].count("modest") == 2


def test_who_had_nothing_before_has_no_credit_for_it() -> None:
    line: Line[str] = Line()
    for _ in range(100):
        line.push(waiting("a"))
        line.went(line.first(0.0))  # type: ignore[arg-type]
    for number in range(10):
        line.push(waiting("a", number))
        line.push(waiting("late", number))
    turns = [item.partition("@")[0] for item in order(line)]
    assert 4 <= turns[:10].count("a") <= 6


def test_when_it_is_full_the_least_urgent_and_youngest_leaves() -> None:
    line: Line[str] = Line(capacity=3, most_bytes=100)
    first, low = waiting("a", 0.0), waiting("a", 1.0, Priority.LOW)
    urgent, newest = waiting("a", 2.0, Priority.CRITICAL), waiting("a", 3.0)
    assert [line.push(one) for one in (first, low, urgent)] == [[], [], []]
    assert line.push(newest) == [low]
    assert len(line) == 3


def test_bodies_count_too() -> None:
    line: Line[str] = Line(capacity=100, most_bytes=100)
    line.push(waiting("a", 0.0, size=60))
    big = waiting("a", 1.0, size=60)
    assert line.push(big) == [big]
    assert (len(line), line.bytes) == (1, 60)


def test_who_is_joined_by_somebody_more_urgent_goes_sooner() -> None:
    line: Line[str] = Line()
    low = waiting("a", 0.0, Priority.LOW)
    line.push(low)
    line.push(waiting("b", 0.0))
    line.lift(low, Priority.HIGH)
    line.lift(low, Priority.LOW)  # never down
    assert order(line)[0] == "a@0"


def test_who_gave_up_is_not_called() -> None:
    line: Line[str] = Line()
    one, two = waiting("a", 0.0), waiting("a", 1.0)
    line.push(one)
    line.push(two)
    assert line.remove(one)
    assert not line.remove(one)
    assert order(line) == ["a@1"]


# -- simulations: a server that takes one call every 0.1 s, and a clock of their own --------------


def simulate(
    agents: dict[str, tuple[float, Priority]], seconds: float, seed: int = 1
) -> tuple[Counter[str], dict[str, float]]:
    """`agents`: how many calls a second each makes, and how urgent. Whom was served how often, and
    each one's longest wait."""
    rng, line, now = random.Random(seed), Line[str](capacity=10**6), 0.0
    served, longest = Counter[str](), dict.fromkeys(agents, 0.0)
    due = {name: rng.expovariate(rate) for name, (rate, _) in agents.items()}
    while now < seconds:
        now += 0.1
        for name, (rate, level) in agents.items():
            while due[name] <= now:
                line.push(waiting(name, due[name], level))
                due[name] += rng.expovariate(rate)
        first = line.first(now)
        if first is not None:
            line.went(first)
            served[first.agent] += 1
            longest[first.agent] = max(longest[first.agent], now - first.next_since)
    for left in line.all():
        longest[left.agent] = max(longest[left.agent], now - left.next_since)
    return served, longest


def test_nothing_starves_behind_an_endless_stream_of_urgent_calls() -> None:
    """Urgent calls alone are twice what the server bears. A call of the lowest level waits until
    it has aged, and then for its turn among all: eight of an urgent agent's are one of its own."""
    agents = {f"urgent-{number}": (4.0, Priority.CRITICAL) for number in range(5)}
    agents["modest"] = (0.02, Priority.LOW)
    served, longest = simulate(agents, 1200)
    assert served["modest"] >= 15
    assert longest["modest"] <= 3 * AGING_S + 8 * len(agents) * 0.1 + 0.2


@pytest.mark.parametrize("greed", [1, 5, 50])
def test_agents_have_equal_shares_whatever_they_ask_for(greed: int) -> None:
    agents = {"greedy": (5.0 * greed, Priority.NORMAL)}
    agents |= {f"fair-{number}": (6.0, Priority.NORMAL) for number in range(3)}
    served, _ = simulate(agents, 600)
    for number in range(3):
        assert served[f"fair-{number}"] == pytest.approx(served["greedy"], rel=0.03)


def test_within_a_level_shares_follow_weights() -> None:
    line, had = Line[str](), Counter[str]()
    for number in range(400):
        line.push(waiting("high", number / 1000, Priority.HIGH))
        line.push(waiting("low", number / 1000, Priority.LOW))
    for turn in range(200):
        line.first(turn * 100.0)
        first = line.first(turn * 100.0 + 99.0)  # both have aged by now
        assert first is not None
        line.went(first)
        had[first.agent] += 1
    wanted = WEIGHTS[Priority.HIGH] / WEIGHTS[Priority.LOW]
    assert had["high"] / had["low"] == pytest.approx(wanted, rel=0.1)


def test_the_line_is_empty_when_the_server_bears_all() -> None:
    agents = {f"a{number}": (0.8, Priority(number % 4)) for number in range(10)}
    _, longest = simulate(agents, 600)
    assert max(longest.values()) < 15
