"""`[[proxy.limits]]`: what upstreams bear, for whoever knows it better than their headers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleet.core.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitConfig:
    """Of each key of an upstream, for each model. None is no limit."""

    upstream: str = ""  # a name; "" is any
    model: str = ""  # a glob; "" is any
    requests_per_minute: float | None = None
    input_tokens_per_minute: float | None = None  # without what is read from a prompt cache
    output_tokens_per_minute: float | None = None
    concurrency: int | None = None

    def holds_for(self, upstream: str, model: str) -> bool:
        return self.upstream in ("", upstream) and (
            not self.model or fnmatchcase(model, self.model)
        )


def read_limits(proxy: Table) -> tuple[LimitConfig, ...]:
    """The first that holds for an upstream and a model is theirs."""
    found = []
    for table in proxy.tables("limits", optional=True):
        already = len(table.problems)
        limit = LimitConfig(
            upstream=table.text("upstream"),
            model=table.text("model"),
            requests_per_minute=table.number("requests_per_minute", None),
            input_tokens_per_minute=table.number("input_tokens_per_minute", None),
            output_tokens_per_minute=table.number("output_tokens_per_minute", None),
            concurrency=table.integer("concurrency", 0, low=1, high=10_000) or None,
        )
        is_empty = limit == LimitConfig(upstream=limit.upstream, model=limit.model)
        if is_empty and len(table.problems) == already:
            table.report(
                "", "this limits nothing", "add requests_per_minute, concurrency or a token limit"
            )
        table.finish()
        found.append(limit)
    return tuple(found)


def limit_of(limits: Sequence[LimitConfig], upstream: str, model: str) -> LimitConfig:
    return next((each for each in limits if each.holds_for(upstream, model)), LimitConfig())
