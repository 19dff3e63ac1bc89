"""What limits, lines and breakers cost a call: python scripts/bench/pressure.py

Every figure is the least of many short rounds, in ns, beside that of calling an empty method in the
same round.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fleet.proxy.pressure import hints
from fleet.proxy.pressure.breaker import Breaker
from fleet.proxy.pressure.bucket import Bucket
from fleet.proxy.pressure.budget import Budget, Limits
from fleet.proxy.pressure.lane import UNBOUNDED, Bounds, Lane
from fleet.proxy.pressure.line import Line, Waiting
from fleet.proxy.pressure.need import NOTHING
from fleet.proxy.stage import Priority

ROUNDS, CALLS = 300, 2000

Run = Callable[[], object]


class Empty:
    def call(self, cost: float, now: float) -> None:
        """What a call costs by itself."""


def least_ns(runs: dict[str, Run]) -> dict[str, float]:
    found = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter_ns()
            for _ in range(CALLS):
                run()
            found[name] = min(found[name], (time.perf_counter_ns() - began) / CALLS)
    return found


def main() -> None:
    empty, bucket = Empty().call, Bucket(1e12)
    breaker, budget = Breaker(random.Random(1)), Budget(Limits(run=10**15))
    free = Lane("p/0", "m", breaker, UNBOUNDED)
    bound = Lane("p/0", "m", breaker, Bounds(requests=1e12, input=1e12, concurrency=10**6))
    line: Line[int] = Line()
    for number in range(1000):
        line.push(Waiting(number, f"agent-{number % 24}", Priority.NORMAL, 0.0, 1.0, 1000))
    plain = tuple((b"x-header-%d" % n, b"value") for n in range(14))
    limits = (*plain, (b"anthropic-ratelimit-requests-limit", b"50"))
    accounts = budget.accounts(task="t", agent="a", day="2026-01-01")

    def lane_pass() -> None:
        bound.ready_at(NOTHING, 1.0)
        bound.take(NOTHING, 1.0)
        bound.give_back(NOTHING, None, 1.0)

    def pay() -> None:
        budget.reserve(1, 5, accounts, None)
        budget.settle(1, 0, None)

    found = least_ns(
        {
            "an empty method": lambda: empty(1.0, 1.0),
            "a bucket: take": lambda: bucket.take(1.0, 1.0),
            "a breaker that is closed: began": lambda: breaker.began(1.0),
            "a breaker that is closed: succeeded": lambda: breaker.succeeded(0, 1.0),
            "a lane without limits: ready_at": lambda: free.ready_at(NOTHING, 1.0),
            "a lane with three limits: ready, take, give back": lane_pass,
            "headers of an answer, none of limits": lambda: hints.read(plain, 0.0),
            "headers of an answer, one of limits": lambda: hints.read(limits, 0.0),
            "a budget: reserve, settle (four accounts)": pay,
            "a line of 1000 calls of 24 agents: first": lambda: line.first(1.0),
        }
    )
    base = found["an empty method"]
    for name, ns in found.items():
        sys.stdout.write(f"{ns:9.0f} ns  {ns / base:6.1f} ×  {name}\n")


if __name__ == "__main__":
    main()
