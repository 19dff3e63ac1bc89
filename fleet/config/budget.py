"""`[budget]`: what may be spent on models. `[proxy.prices]`: what those cost that no list has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.core.table import Table

MOST_USD = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetConfig:
    """Dollars; None is no limit."""

    run_usd: float | None = None  # of one `fleet run`
    day_usd: float | None = None  # of a day in UTC
    task_usd: float | None = None  # of each task that names no `budget_usd`, all its attempts
    agent_usd: float | None = None  # of all agents of one name, within a run
    max_output_tokens: int = 32_000  # of a request that does not bound its own answer

    @property
    def any(self) -> bool:
        return any((self.run_usd, self.day_usd, self.task_usd, self.agent_usd))

    @classmethod
    def read(cls, table: Table) -> BudgetConfig:
        return cls(
            run_usd=table.number("run_usd", None, high=MOST_USD),
            day_usd=table.number("day_usd", None, high=MOST_USD),
            task_usd=table.number("task_usd", None, high=MOST_USD),
            agent_usd=table.number("agent_usd", None, high=MOST_USD),
            max_output_tokens=table.integer("max_output_tokens", 32_000, low=1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceConfig:
    """Dollars for a million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float


def read_prices(proxy: Table) -> Mapping[str, PriceConfig]:
    """By the name of the model, exactly."""
    table = proxy.table("prices")
    found = {}
    for model in table.names:
        entry = table.table(model)
        given = entry.number("input", None, high=MOST_USD, zero=True)
        made = entry.number("output", None, high=MOST_USD, zero=True)
        if given is None or made is None:
            entry.report("", "input and output are both needed", "dollars per million tokens")
        read = entry.number("cache_read", given, high=MOST_USD, zero=True)
        write = entry.number("cache_write", given, high=MOST_USD, zero=True)
        entry.finish()
        if given is not None and made is not None and read is not None and write is not None:
            found[model] = PriceConfig(input=given, output=made, cache_read=read, cache_write=write)
    return found
