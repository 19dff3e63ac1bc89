"""Money on the disk: real files, real kills."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.config import BudgetConfig
from fleet.core.traffic import NANO, Ended
from fleet.proxy.flight import Flight
from fleet.proxy.pressure.budget import Mark, Scope
from fleet.proxy.pricing import Quote, per_million
from fleet.proxy.treasury import Refusal, Treasury, day_of, next_day
from fleet.store.calls import CallsWriter
from fleet.store.traffic import By, latest_calls, open_calls, set_aside, spent_by
from tests.proxy.outlets import caller
from tests.proxy.world import World
from tests.traffic_rows import a_call

PRICE = per_million(input=3, output=15, cache_read=0.3, cache_write=3.75)
NOON = 1_750_000_000.0 // 86_400 * 86_400 + 43_200
ROOT = Path(__file__).parents[2]


class Till:
    """A treasury with its files, and a flight to pay for."""

    def __init__(self, folder: Path, config: BudgetConfig, now: float = NOON) -> None:
        self.now = now
        self.path = folder / "calls.db"
        self.writer = CallsWriter(self.path)
        self.marks: list[Mark] = []
        self.done: list[int] = []
        self.numbers = self.writer.next_id - 1
        self.treasury = Treasury(
            config,
            self.writer,
            self.path,
            wall=lambda: self.now,
            soon=lambda call: call(),
            told=self.marks.append,
        )

    def flight(self, task: str = "t", *, most: int = 1000, price: Quote | None = None) -> Flight:
        world = World()
        plan = world.plan(caller(task), most=most)
        plan.quote = price or Quote(PRICE, ready=True)
        return world.launch(plan)[0]

    def pay(self, flight: Flight, size: int = 3000) -> Refusal | None:
        self.numbers += 1
        flight.call_id = number = self.numbers
        return self.treasury.set_aside(flight, size, lambda: self.done.append(number))

    def close(self) -> None:
        self.writer.close()


def test_it_is_on_the_disk_before_the_call_may_leave(tmp_path: Path) -> None:
    till = Till(tmp_path, BudgetConfig(run_usd=1.0))
    assert till.pay(till.flight()) is None
    till.writer.flush()
    assert till.done == [1]
    with contextlib.closing(open_calls(till.path)) as db:
        assert set_aside(db) == till.treasury.reserved(1) == 15_000_000 + 3_750_000
    till.writer.add(a_call(1, task="t", cost=5))
    till.treasury.settle(1, 5)
    till.close()
    with contextlib.closing(open_calls(till.path)) as db:
        assert set_aside(db) == 0
        assert spent_by(db, By.TASK) == {"t": 5}


def test_what_was_never_sent_gives_its_money_back(tmp_path: Path) -> None:
    till = Till(tmp_path, BudgetConfig(run_usd=1.0))
    till.pay(till.flight())
    till.treasury.void(1)
    till.close()
    with contextlib.closing(open_calls(till.path)) as db:
        assert set_aside(db) == 0
        assert latest_calls(db, 5) == []


def test_a_price_that_nobody_knows_is_refused_and_one_that_is_looked_up_waits(
    tmp_path: Path,
) -> None:
    till = Till(tmp_path, BudgetConfig(run_usd=1.0))
    unknown = till.pay(till.flight(price=Quote(ready=True)))
    assert unknown is not None
    assert "[proxy.prices.'m']" in unknown.message
    looked_up = till.pay(till.flight(price=Quote(ready=False)))
    assert looked_up is not None
    assert looked_up.waits
    till.close()


def test_without_a_budget_nothing_is_asked_and_nothing_is_written(tmp_path: Path) -> None:
    till = Till(tmp_path, BudgetConfig())
    flight = till.flight()
    assert not till.treasury.guards(flight)
    assert till.treasury.cap_for(flight.caller) == 0
    flight.plan.caller = replace(flight.caller, budget=NANO)
    assert till.treasury.guards(flight)
    assert till.treasury.cap_for(flight.plan.caller) == 32_000
    till.close()


def test_what_was_spent_before_counts_by_run_day_task_and_agent(tmp_path: Path) -> None:
    with contextlib.closing(CallsWriter(tmp_path / "calls.db")) as writer:
        writer.add(a_call(1, at=NOON - 100_000, task="t", cost=4 * NANO))
        writer.add(a_call(2, at=NOON - 3_600, task="u", cost=2 * NANO))
        writer.add(a_call(3, at=NOON - 60, task="v", agent="", cost=NANO))
    limits = BudgetConfig(run_usd=9, day_usd=9, task_usd=9, agent_usd=9)
    till = Till(tmp_path, limits)
    till.treasury.run_began(NOON - 600)
    spent = {
        (account.scope, account.name): till.treasury.budget.spent(account) // NANO
        for account in till.treasury.budget.accounts(task="t", agent="mini", day=day_of(NOON))
    }
    assert spent == {
        (Scope.RUN, ""): 1,
        (Scope.DAY, day_of(NOON)): 3,
        (Scope.TASK, "t"): 4,
        (Scope.AGENT, "mini"): 0,
    }
    till.treasury.run_began(NOON)
    assert (
        till.treasury.budget.spent(till.treasury.budget.accounts(task="", agent="", day="")[0]) == 0
    )
    till.close()


def test_a_day_ends_at_midnight_in_utc(tmp_path: Path) -> None:
    till = Till(tmp_path, BudgetConfig(day_usd=0.03))
    assert till.pay(till.flight()) is None
    till.treasury.settle(1, 18_750_000)
    refused = till.pay(till.flight())
    assert refused is not None
    assert refused.account is not None
    assert refused.account.scope is Scope.DAY
    assert next_day(NOON) - NOON == 43_200
    till.now = next_day(NOON)
    assert till.pay(till.flight()) is None
    till.close()


def test_limits_that_are_raised_hold_for_the_next_call(tmp_path: Path) -> None:
    till = Till(tmp_path, BudgetConfig(run_usd=0.01))
    assert till.pay(till.flight()) is not None
    till.treasury.configure(BudgetConfig(run_usd=0.1))
    assert till.pay(till.flight()) is None
    till.close()


# -- kill -9 --------------------------------------------------------------------------------------

LIMIT = 0.5
SPENDER = """
import random, sys, threading
from pathlib import Path
from fleet.config import BudgetConfig
from fleet.core.traffic import NANO
from tests.proxy.test_treasury import NOON, Till
from tests.traffic_rows import a_call

seed = int(sys.argv[2])
rng = random.Random(seed)
till = Till(Path(sys.argv[1]), BudgetConfig(run_usd=float(sys.argv[3])))
till.treasury.run_began(NOON - 60)
flights = {}
print("ready", flush=True)
while True:
    flight = till.flight(most=rng.randrange(1, 300))
    if till.pay(flight, size=rng.randrange(3000)) is None:
        flights[flight.call_id] = flight
    while till.done:  # it is on the disk: it leaves, and the provider charges for it
        number = till.done.pop()
        amount = rng.randrange(till.treasury.reserved(number) + 1)
        print(number, amount, flush=True)
        if rng.random() < 0.7:
            till.writer.add(a_call(number, at=NOON, task="t", cost=amount))
            till.treasury.settle(number, amount)
    if len(flights) > 3000:
        break
"""


def spend(folder: Path, rounds: int, seed: int) -> tuple[int, int, int]:
    """Kills so many spenders. What the provider has charged, what the books say, and the most that
    was ever spent and set aside together by the books, in nano-dollars."""
    rng, charged, highest = random.Random(seed), 0, 0
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    for number in range(rounds):
        words = [sys.executable, "-c", SPENDER, str(folder), str(seed * 1000 + number), str(LIMIT)]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.15))
        child.send_signal(signal.SIGKILL)
        told = [line.split() for line in child.stdout.read().splitlines()]
        charged += sum(int(line[1]) for line in told if len(line) == 2)
        child.wait()
        child.stdout.close()
        with contextlib.closing(open_calls(folder / "calls.db")) as db:
            highest = max(highest, sum(spent_by(db, By.TASK).values()) + set_aside(db))
    CallsWriter(folder / "calls.db").close()  # the next proxy's first act
    with contextlib.closing(open_calls(folder / "calls.db")) as db:
        assert set_aside(db) == 0
        lost = [call for call in latest_calls(db, 10**6) if call.ended is Ended.LOST]
        assert lost or rounds < 3
        return charged, sum(spent_by(db, By.TASK).values()), highest


def check_never_above(folder: Path, rounds: int, seed: int) -> None:
    charged, booked, highest = spend(folder, rounds, seed)
    assert charged <= booked, "the provider has charged what no book knows of"
    assert booked <= highest <= LIMIT * NANO
    assert booked > 0.5 * LIMIT * NANO, "hardly anything was spent: this proves nothing"


def test_spenders_that_are_killed_never_pass_the_limit_together(tmp_path: Path) -> None:
    check_never_above(tmp_path, 8, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_spenders_that_are_killed_again_and_again_never_do(tmp_path: Path, seed: int) -> None:
    check_never_above(tmp_path, 150, seed)
