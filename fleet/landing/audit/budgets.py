"""A7: the books of `calls.db` against the budgets, and against themselves.

Only calls count that were sent under the limits as they are now: somebody may lower a limit below
what is spent already, and then nothing more may be sent, but nothing was exceeded either.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleet.config import BudgetConfig
from fleet.core.event import Kind
from fleet.core.traffic import NANO
from fleet.landing.audit.breach import Breach
from fleet.store.claims import is_held
from fleet.store.database import Database
from fleet.store.traffic import open_calls
from fleet.wiring import Fleet

TAKEN_OVER_S = 10.0  # after an edit, a proxy goes by the new limits
DAY_S = 86_400.0


@dataclass(slots=True)
class _Account:
    """Nano-dollars, spent and set aside, by whoever shares one limit."""

    spent: int = 0
    last: float = 0.0  # when the newest of its calls was sent

    def add(self, at: float, amount: int) -> None:
        self.spent += amount
        self.last = max(self.last, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    began: float
    ended: float
    whole: _Account = field(default_factory=_Account)
    agents: dict[str, _Account] = field(default_factory=lambda: defaultdict(_Account))


def breaches(fleet: Fleet) -> Iterator[Breach]:
    with contextlib.closing(open_calls(fleet.layout.calls_database)) as db, db.snapshot():
        yield from _twice(db)
        yield from _strangers(fleet, db)
        yield from _without_row(fleet, db)
        yield from _exceeded(fleet, db)


def _twice(db: Database) -> Iterator[Breach]:
    for (number,) in db.rows("SELECT r.id FROM reservations r JOIN calls c ON c.id = r.id"):
        yield Breach(invariant="A7", what=f"call {number!s} is both settled and set aside")


def _strangers(fleet: Fleet, db: Database) -> Iterator[Breach]:
    """Calls of attempts that never were."""
    epochs = {str(id_): epoch for id_, epoch in fleet.db.rows("SELECT id, epoch FROM tasks")}
    asked = (
        "SELECT task, max(epoch) FROM (SELECT task, epoch FROM calls UNION ALL "
        "SELECT task, epoch FROM reservations) WHERE task != '' GROUP BY task"
    )
    for task, epoch in db.rows(asked):
        given = epochs.get(str(task))
        if isinstance(given, int) and isinstance(epoch, int) and epoch > given:
            what = f"a call was made for {task!s}.{epoch}, an attempt that never was"
            yield Breach(invariant="A7", what=what)


def _without_row(fleet: Fleet, db: Database) -> Iterator[Breach]:
    """Answers that agents had of calls that are in no row: one that was killed may lose a few."""
    if is_held(fleet.layout.proxy_lock) or _somebody_was_killed(fleet):
        return
    asked = (
        "SELECT DISTINCT s.call FROM served s LEFT JOIN calls c ON c.id = s.call "
        "WHERE s.call != 0 AND s.gone = 0 AND s.task != '' AND c.id IS NULL"
    )
    for (number,) in db.rows(asked):
        what = f"the answer of call {number!s} was given out, and there is no row of that call"
        yield Breach(invariant="A7", what=what)


def _somebody_was_killed(fleet: Fleet) -> bool:
    """Whether a proxy may have been, as far as the coordinators could tell."""
    ended = "coalesce(sum(kind = 'run-started'), 0) - coalesce(sum(kind = 'run-ended'), 0)"
    if fleet.db.rows(f"SELECT {ended} FROM events") != [(0,)]:  # noqa: S608 - a constant of ours
        return True
    asked = (
        "SELECT 1 FROM events WHERE kind = 'worker-exited' AND body ->> '$.worker' = 'proxy' "
        "AND coalesce(body ->> '$.number', 0) != 0 LIMIT 1"
    )
    return bool(fleet.db.rows(asked))


def _exceeded(fleet: Fleet, db: Database) -> Iterator[Breach]:
    limits = fleet.config.budget
    own, changed = _own_budgets(fleet), _changes(fleet)
    if not limits.any and not own:
        return
    since = _limits_since(fleet)
    runs, days = _runs(fleet), defaultdict[str, _Account](_Account)
    tasks = defaultdict[str, _Account](_Account)
    for at, task, agent, amount in _amounts(db):
        days[_day(at)].add(at, amount)
        if task:
            tasks[task].add(at, amount)
        for run in runs:
            if run.began <= at <= run.ended:
                run.whole.add(at, amount)
                if task:
                    run.agents[agent].add(at, amount)
    for day, account in days.items():
        yield from _over(account, limits.day_usd, since, f"all calls of {day} (UTC)")
    for task, account in tasks.items():
        allowed = own.get(task, limits.task_usd)
        yield from _over(account, allowed, max(since, changed.get(task, 0.0)), f"task {task}")
    for run in runs:
        yield from _over_in(run, limits, since)


def _over_in(run: _Run, limits: BudgetConfig, since: float) -> Iterator[Breach]:
    began = datetime.fromtimestamp(run.began, UTC).strftime("%Y-%m-%d %H:%M:%S")
    yield from _over(run.whole, limits.run_usd, since, f"the run of {began} UTC")
    for agent, account in run.agents.items():
        who = f"agent {agent} in the run of {began} UTC"
        yield from _over(account, limits.agent_usd, since, who)


def _over(account: _Account, limit: float | None, since: float, who: str) -> Iterator[Breach]:
    if limit is not None and account.spent > round(limit * NANO) and account.last > since:
        spent = f"${account.spent / NANO:.4f}"
        yield Breach(invariant="A7", what=f"{who} cost {spent}, and the budget is ${limit:g}")


def _amounts(db: Database) -> Iterator[tuple[float, str, str, int]]:
    asked = "SELECT at, task, agent, {} FROM {} WHERE {} > 0"
    for column, table in (("cost", "calls"), ("amount", "reservations")):
        for at, task, agent, amount in db.rows(asked.format(column, table, column)):
            assert isinstance(at, float)
            assert isinstance(amount, int)
            yield at, str(task), str(agent), amount


def _runs(fleet: Fleet) -> list[_Run]:
    """Those that ended, and the newest one. What was spent between runs belongs to none."""
    found = []
    began: float | None = None
    for kind, at in fleet.db.rows(
        "SELECT kind, at FROM events WHERE kind IN ('run-started', 'run-ended') ORDER BY seq"
    ):
        assert isinstance(at, float)
        if kind == Kind.RUN_STARTED:
            began = at
        elif began is not None:
            found.append(_Run(began=began, ended=at))
            began = None
    newest = float(fleet.controls.get("run-began") or 0.0)
    if newest and all(run.ended < newest for run in found):
        found.append(_Run(began=newest, ended=float("inf")))
    return found


def _own_budgets(fleet: Fleet) -> dict[str, float]:
    asked = (
        "SELECT id, spec ->> '$.budget_usd' FROM tasks WHERE spec ->> '$.budget_usd' IS NOT NULL"
    )
    return {
        str(id_): float(usd) for id_, usd in fleet.db.rows(asked) if isinstance(usd, int | float)
    }


def _changes(fleet: Fleet) -> dict[str, float]:
    """When the tasks' texts were last changed."""
    asked = "SELECT task, max(at) FROM events WHERE kind = 'task-changed' GROUP BY task"
    return {str(task): at for task, at in fleet.db.rows(asked) if isinstance(at, float)}


def _limits_since(fleet: Fleet) -> float:
    """Since when the limits of fleet.toml hold as they are now."""
    try:
        return (fleet.layout.top / "fleet.toml").stat().st_mtime + TAKEN_OVER_S
    except OSError:
        return 0.0


def _day(at: float) -> str:
    return datetime.fromtimestamp(at - at % DAY_S, UTC).strftime("%Y-%m-%d")
