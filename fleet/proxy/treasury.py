"""The money of a fleet: set aside before a call is sent, settled when it is over.

Decisions are `pressure.budget`'s; here they are made durable. What a call may cost at most is on
the disk before the call leaves, so a proxy that is killed has spent no more than it wrote down.
While a limit is set, a call whose price nobody knows is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fleet.config import BudgetConfig
from fleet.core.caller import Caller
from fleet.core.traffic import NANO, Reservation
from fleet.proxy.dialects.dialect import Endpoint
from fleet.proxy.flight import Flight
from fleet.proxy.pressure.budget import Account, Budget, Limits, Mark, Scope, Verdict, most
from fleet.store.calls import CallsWriter
from fleet.store.traffic import By, open_calls, spent_by

FREE_ENDPOINTS = frozenset({Endpoint.COUNT_TOKENS, Endpoint.MODELS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a call is not paid for, now or at all."""

    message: str
    waits: bool = False  # until somebody settles, or its price is known
    account: Account | None = None  # whose limit it is; None: the price is not known


PATIENCE = Refusal(message="", waits=True)


class Treasury:
    """Used from the event loop. `told` hears of marks that were passed."""

    def __init__(
        self,
        config: BudgetConfig,
        writer: CallsWriter,
        calls_database: Path,
        *,
        wall: Callable[[], float],
        soon: Callable[[Callable[[], None]], object],  # from another thread into the loop
        told: Callable[[Mark], None],
    ) -> None:
        self.budget = Budget(_limits(config))
        self._cap = config.max_output_tokens
        self.on_settled: Callable[[], None] = _nothing
        self._writer = writer
        self._calls_database = calls_database
        self._wall = wall
        self._soon = soon
        self._told = told
        self._run_began: float | None = None
        self._own: dict[int, int | None] = {}  # limits of the tasks of open calls
        self._begin_days_and_tasks()

    def configure(self, config: BudgetConfig) -> None:
        """Other limits from now on; what was spent stays spent."""
        self.budget.limits = _limits(config)
        self._cap = config.max_output_tokens
        self.on_settled()

    def guards(self, flight: Flight) -> bool:
        """Whether any limit holds for it."""
        plan = flight.plan
        return self._is_limited(plan.caller) and plan.asked.endpoint not in FREE_ENDPOINTS

    def cap_for(self, caller: Caller) -> int:
        """Tokens that an answer may have at most where its request does not say; 0: no bound."""
        return self._cap if self._is_limited(caller) else 0

    def _is_limited(self, caller: Caller) -> bool:
        return self.budget.limits.any or caller.budget is not None

    def set_aside(self, flight: Flight, size: int, then: Callable[[], None]) -> Refusal | None:
        """None: `then` is called once it is on the disk. Nothing is set aside otherwise."""
        plan, caller, number = flight.plan, flight.caller, flight.call_id
        quote, asked, now = plan.quote, plan.asked, self._wall()
        if quote.price is None:
            return PATIENCE if not quote.ready else _unpriced(asked.model, plan.provider.name)
        output = 0 if asked.endpoint is Endpoint.EMBEDDINGS else asked.max_output or self._cap
        amount = most(quote.price, size=size, output=output)
        accounts = self.budget.accounts(
            task=caller.task, agent=caller.agent if caller.task else "", day=day_of(now)
        )
        answer = self.budget.reserve(number, amount, accounts, caller.budget)
        if answer.verdict is Verdict.WAIT:
            return PATIENCE
        if answer.verdict is Verdict.SPENT:
            assert answer.account is not None
            what = f"{_named(answer.account)} has {_dollars(answer.limit)}, of which "
            what += f"{_dollars(answer.spent)} is spent: this call may cost {_dollars(amount)}"
            return Refusal(message=what, account=answer.account)
        self._own[number] = caller.budget
        row = Reservation(
            number,
            now,
            caller.task,
            caller.epoch,
            caller.agent,
            plan.provider.name,
            asked.model,
            asked.endpoint,
            amount,
        )

        def on_disk() -> None:
            self._soon(then)

        self._writer.set_aside(row, on_disk)
        return None

    def reserved(self, number: int) -> int:
        """What was set aside for a call; 0 if nothing was."""
        return self.budget.reserved(number)

    def settle(self, number: int, amount: int) -> None:
        """Its row in the books says so much."""
        if not self._own and not self.budget.limits.any:
            return
        for mark in self.budget.settle(number, amount, self._own.pop(number, None)):
            self._told(mark)
        self.on_settled()

    def void(self, number: int) -> None:
        """It was never sent."""
        if self.budget.reserved(number):
            self.settle(number, 0)
            self._writer.void(number)

    # -- what was spent before --------------------------------------------------------------

    def run_began(self, at: float) -> None:
        """A run begins, or is found under way: what it has spent, and the agents within it."""
        if at == self._run_began:
            return
        self._run_began = at
        agents = self._sums(By.AGENT, since=at)
        spent = [(Account(Scope.AGENT, name), amount) for name, amount in agents.items()]
        spent.append((Account(Scope.RUN, ""), sum(agents.values())))
        self.budget.begin(spent, forget=(Scope.RUN, Scope.AGENT))

    def _begin_days_and_tasks(self) -> None:
        now = self._wall()
        today = sum(self._sums(By.AGENT, since=_midnight(now)).values())
        spent = [(Account(Scope.DAY, day_of(now)), today)]
        for task, amount in self._sums(By.TASK).items():
            if task:
                spent.append((Account(Scope.TASK, task), amount))
        self.budget.begin(spent)

    def _sums(self, by: By, since: float | None = None) -> dict[str, int]:
        with contextlib.closing(open_calls(self._calls_database)) as db:
            return spent_by(db, by, since=since)


def day_of(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


def next_day(now: float) -> float:
    """POSIX s."""
    return _midnight(now) + 86_400.0


def _midnight(now: float) -> float:
    return now - now % 86_400.0


def _named(account: Account) -> str:
    match account.scope:
        case Scope.RUN:
            return "this run"
        case Scope.DAY:
            return f"{account.name} (UTC)"
        case _:
            return f"{account.scope} {account.name}"


def _unpriced(model: str, upstream: str) -> Refusal:
    return Refusal(
        message=f"a budget is set, and nobody knows what {model!r} costs at {upstream}: write "
        f"[proxy.prices.{model!r}] with input and output, dollars per million tokens, or take the "
        "budget out"
    )


def _limits(config: BudgetConfig) -> Limits:
    return Limits(
        run=_nano(config.run_usd),
        day=_nano(config.day_usd),
        task=_nano(config.task_usd),
        agent=_nano(config.agent_usd),
    )


def _nano(dollars: float | None) -> int | None:
    return None if dollars is None else round(dollars * NANO)


def _dollars(nano: int) -> str:
    return f"${nano / NANO:,.4f}".rstrip("0").rstrip(".")


def _nothing() -> None:
    """Nobody waits for money yet."""
