"""What may be spent: the most that a call can cost is set aside before it is sent.

So the sum of what was spent and what is set aside never passes a limit, whatever happens to the
calls under way. A call that only does not fit because of what is set aside waits; one that would
not fit beside what is spent is refused. Money is whole nano-dollars.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from fleet.core.usage import Usage
from fleet.proxy.pricing import Price, cost

WARNING, CRITICAL = 0.80, 0.95
BYTES_A_TOKEN = 3  # a request of so many bytes has at most so many tokens


class Scope(StrEnum):
    RUN = "run"
    DAY = "day"  # in UTC
    TASK = "task"  # all its attempts
    AGENT = "agent"  # of one name, within a run


class Account(NamedTuple):
    """What a limit is for: the run, a day, one task, the agents of one name."""

    scope: Scope
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Nano-dollars; None is no limit."""

    run: int | None = None
    day: int | None = None
    task: int | None = None  # of tasks that name none of their own
    agent: int | None = None

    @property
    def any(self) -> bool:
        return not self.run is self.day is self.task is self.agent is None


class Verdict(Enum):
    GRANTED = "granted"
    WAIT = "wait"  # for what others have set aside
    SPENT = "spent"


class Answer(NamedTuple):
    verdict: Verdict
    account: Account | None = None  # whose limit it is
    spent: int = 0
    limit: int = 0


class Mark(NamedTuple):
    """A limit that has come near."""

    account: Account
    share: float
    spent: int
    limit: int


GRANTED = Answer(Verdict.GRANTED)


class _Sum:
    __slots__ = ("aside", "spent", "told")

    def __init__(self) -> None:
        self.spent = self.aside = 0
        self.told = 0.0  # the highest mark that was told


class Budget:
    """`reserve` before a call; `settle` after it, whatever became of it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._sums: dict[Account, _Sum] = {}
        self._open: dict[int, tuple[int, tuple[Account, ...]]] = {}

    def accounts(self, *, task: str, agent: str, day: str) -> tuple[Account, ...]:
        """Whose money a call of these is."""
        found = [Account(Scope.RUN, ""), Account(Scope.DAY, day)]
        if task:
            found.append(Account(Scope.TASK, task))
        if agent:
            found.append(Account(Scope.AGENT, agent))
        return tuple(found)

    def begin(self, spent: Iterable[tuple[Account, int]], *, forget: Iterable[Scope] = ()) -> None:
        """What was spent before we were there, or before a new run began."""
        scopes = frozenset(forget)
        for account in [account for account in self._sums if account.scope in scopes]:
            self._sums[account].spent = 0
            self._sums[account].told = 0.0
        for account, amount in spent:
            self._sum(account).spent += amount

    def reserve(
        self, number: int, amount: int, accounts: tuple[Account, ...], task_limit: int | None
    ) -> Answer:
        """All of them, or none. `task_limit`: the task's own, in place of the usual one."""
        waits: Answer | None = None
        for account in accounts:
            limit = self._limit(account, task_limit)
            if limit is None:
                continue
            found = self._sum(account)
            if found.spent + amount > limit:
                return Answer(Verdict.SPENT, account, found.spent, limit)
            if found.spent + found.aside + amount > limit:
                waits = Answer(Verdict.WAIT, account, found.spent, limit)
        if waits is not None:
            return waits
        for account in accounts:
            self._sum(account).aside += amount
        self._open[number] = amount, accounts
        return GRANTED

    def settle(self, number: int, amount: int, task_limit: int | None) -> list[Mark]:
        """It cost so much. Marks that were passed by it."""
        found = self._open.pop(number, None)
        if found is None:
            return []
        aside, accounts = found
        marks = []
        for account in accounts:
            total = self._sum(account)
            total.aside -= aside
            total.spent += amount
            mark = self._mark(account, total, self._limit(account, task_limit))
            if mark is not None:
                marks.append(mark)
        return marks

    def reserved(self, number: int) -> int:
        """What is set aside for a call."""
        found = self._open.get(number)
        return found[0] if found else 0

    def spent(self, account: Account) -> int:
        found = self._sums.get(account)
        return found.spent if found else 0

    @property
    def aside(self) -> int:
        """All that is set aside now."""
        return sum(amount for amount, _ in self._open.values())

    def _mark(self, account: Account, total: _Sum, limit: int | None) -> Mark | None:
        for share in (CRITICAL, WARNING):
            if limit is not None and total.spent >= share * limit and total.told < share:
                total.told = share
                return Mark(account, share, total.spent, limit)
        return None

    def _limit(self, account: Account, task_limit: int | None) -> int | None:
        match account.scope:
            case Scope.RUN:
                return self.limits.run
            case Scope.DAY:
                return self.limits.day
            case Scope.AGENT:
                return self.limits.agent
            case Scope.TASK:
                return self.limits.task if task_limit is None else task_limit

    def _sum(self, account: Account) -> _Sum:
        found = self._sums.get(account)
        if found is None:
            found = self._sums[account] = _Sum()
        return found


def most(price: Price, *, size: int, output: int) -> int:
    """What a call can cost at most: every token of a request of `size` bytes at the dearest kind
    of input, and all the output it allows."""
    tokens = -(-size // BYTES_A_TOKEN)
    return max(
        cost(Usage(input=tokens, output=output), price),
        cost(Usage(cache_write_5m=tokens, output=output), price),
        cost(Usage(cache_write_1h=tokens, output=output), price),
    )
