"""What models have cost, as lines, rows and data. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.core.state import TaskView
from fleet.core.task import TaskState
from fleet.core.traffic import NANO, Totals
from fleet.faces.traffic import dollars

HEAD = ("COST", "SAVED", "CALLS", "CACHED", "WHAT")
BY_HAND = "(by hand)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A budget, and what of it is spent; nano-dollars."""

    name: str  # "run", "day"
    spent: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    total: Totals
    by_task: Mapping[str, Totals]
    by_agent: Mapping[str, Totals]
    by_model: Mapping[str, Totals]
    states: Mapping[str, TaskState]
    spending: Sequence[Spending]
    set_aside: int

    @property
    def merged(self) -> tuple[str, ...]:
        return tuple(id_ for id_, state in self.states.items() if state is TaskState.MERGED)

    @property
    def merged_cost(self) -> int:
        """Of all tasks that landed, their failed attempts included."""
        return sum(self.by_task[id_].cost for id_ in self.merged if id_ in self.by_task)


def states(views: Sequence[TaskView]) -> dict[str, TaskState]:
    return {view.task.id: view.state for view in views}


def page(costs: Costs) -> list[str]:
    total, merged = costs.total, len(costs.merged)
    unknown = f", and {total.unpriced:,} calls without a known price" if total.unpriced else ""
    lines = [f"spent             {dollars(total.cost)}{unknown}"]
    lines += [f"  {_line(each)}" for each in costs.spending]
    if costs.set_aside:
        lines.append(f"set aside         {dollars(costs.set_aside)}, for calls under way")
    if merged:
        each = costs.merged_cost // merged
        lines.append(f"merged tasks      {merged:,}, {dollars(each)} each")
        lines.append(f"for the others    {dollars(total.cost - costs.merged_cost)}")
    lines.append(f"prompt caches     {total.cache_hit_share:.1%} of all input was read from them")
    saved = f"saved by sharing  {dollars(total.saved_cost)}"
    lines.append(saved + f", {total.joined + total.replayed:,} answers")
    return lines


def row(name: str, totals: Totals, state: TaskState | None = None) -> tuple[str, ...]:
    shown = f"{name or BY_HAND}  [{state}]" if state else name or BY_HAND
    return (
        dollars(totals.cost) + ("+?" if totals.unpriced else ""),
        dollars(totals.saved_cost),
        f"{totals.calls:,}",
        f"{totals.cache_hit_share:.0%}",
        shown,
    )


def as_data(costs: Costs) -> dict[str, object]:
    """For programs; money in whole nano-dollars."""
    total, merged = costs.total, len(costs.merged)
    return {
        "cost_nano_usd": total.cost,
        "unpriced_calls": total.unpriced,
        "set_aside_nano_usd": costs.set_aside,
        "saved_nano_usd": total.saved_cost,
        "cache_hit_share": round(total.cache_hit_share, 6),
        "merged_tasks": merged,
        "cost_per_merged_task_nano_usd": costs.merged_cost // merged if merged else None,
        "budgets": {
            each.name: {"spent_nano_usd": each.spent, "limit_nano_usd": each.limit}
            for each in costs.spending
        },
        "by_task": _costs(costs.by_task),
        "by_agent": _costs(costs.by_agent),
        "by_model": _costs(costs.by_model),
    }


def _costs(found: Mapping[str, Totals]) -> dict[str, object]:
    return {
        name: {
            "cost_nano_usd": each.cost,
            "calls": each.calls,
            "unpriced_calls": each.unpriced,
            "cache_hit_share": round(each.cache_hit_share, 6),
            "saved_nano_usd": each.saved_cost,
        }
        for name, each in found.items()
    }


def _line(each: Spending) -> str:
    name = f"this {each.name}" if each.name == "run" else "today (UTC)"
    if each.limit is None:
        return f"{name:<16}{dollars(each.spent)}"
    share = each.spent / each.limit
    return f"{name:<16}{dollars(each.spent)} of {dollars(each.limit)}, {share:.0%}"


def nano(limit_usd: float | None) -> int | None:
    return None if limit_usd is None else round(limit_usd * NANO)
