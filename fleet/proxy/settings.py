"""What of fleet.toml holds for a proxy that runs: taken over at its start, and whenever it changes.

Calls under way keep what they began with. An edit that does not stand is refused as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet import config as configuration
from fleet.config import Config, ProxyConfig, limit_of
from fleet.config.reading import FILE
from fleet.core.errors import ConfigError, Problem
from fleet.proxy.build import Builder
from fleet.proxy.pressure.lane import Bounds
from fleet.proxy.pressure.lanes import BoundsOf, Lanes
from fleet.proxy.pressure.loops import Loops, Patience
from fleet.proxy.pricing import Prices, per_million
from fleet.proxy.providers import Providers
from fleet.proxy.reports import Reports
from fleet.proxy.setbacks import Policy, Setbacks
from fleet.proxy.treasury import Treasury

LOOK_S = 0.5
# What only a new proxy can take over.
AT_START = ("port", "metrics_port", "dedup", "cache_ttl_s", "cache_bytes", "grace_s", "hold_back_s")
SIZES = ("body_bytes", "bodies_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    build: Builder
    providers: Providers
    lanes: Lanes
    setbacks: Setbacks
    treasury: Treasury
    prices: Prices
    loops: Loops

    def apply(self, config: Config) -> None:
        proxy = config.proxy
        self.build.configure(proxy)
        before = self.providers.all
        self.providers.configure(proxy)
        self.lanes.rebound(_bounds(proxy), proxy.breaker_open_s)
        if self.providers.all != before:
            self.lanes.pardon()
        self.setbacks.policy = Policy(
            hold_max_s=proxy.hold_max_s, deadline_s=proxy.total_timeout_s, tries=proxy.tries
        )
        self.prices.override(
            {
                model: per_million(
                    input=price.input,
                    output=price.output,
                    cache_read=price.cache_read,
                    cache_write=price.cache_write,
                )
                for model, price in proxy.prices.items()
            }
        )
        self.treasury.configure(config.budget)
        self.loops.patience = Patience(
            same_call=config.loops.same_call, tokens_per_minute=config.loops.tokens_per_minute
        )


class SettingsWatch:
    """Looks whether fleet.toml has changed; `look` now and then."""

    def __init__(
        self, config: Config, top: Path, environ: Mapping[str, str], reports: Reports
    ) -> None:
        self._config = config
        self._top = top
        self._environ = environ
        self._reports = reports
        self._seen = self._stamp()
        self._next_look = 0.0

    async def look(self, settings: Settings, now: float) -> None:
        """Takes over what has changed, or says why not."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        seen = self._stamp()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            found = await asyncio.to_thread(configuration.load, self._top, self._environ)
            self._refuse_without_keys(found.proxy)
        except ConfigError as error:
            first, *others = error.problems
            more = f" (and {len(others)} more)" if others else ""
            self._reports.settings(f"refused, the old ones hold: {first.where}: {first.what}{more}")
            return
        before, self._config = self._config, found
        if found == before:
            return
        settings.apply(found)
        late = [
            name
            for name in (*AT_START, *SIZES)
            if getattr(found.proxy, name) != getattr(before.proxy, name)
        ]
        rest = f"; not before the next proxy: {', '.join(late)}" if late else ""
        self._reports.settings(f"taken over from {FILE}{rest}")

    def _refuse_without_keys(self, proxy: ProxyConfig) -> None:
        """The environment of a process does not change: a new variable is not in it."""
        known = self._config.proxy.upstreams
        problems = [
            Problem(
                where=f"{FILE}: upstream {upstream.name}",
                what=f"none of {', '.join(upstream.keys)} is set where the proxy was started",
                fix="set one and start the fleet anew",
            )
            for upstream in proxy.upstreams
            if upstream not in known and upstream.lacks_key(self._environ)
        ]
        if problems:
            raise ConfigError(problems)

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = (self._top / FILE).stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino


def _bounds(proxy: ProxyConfig) -> BoundsOf:
    def of(upstream: str, model: str) -> Bounds:
        found = limit_of(proxy.limits, upstream, model)
        return Bounds(
            requests=found.requests_per_minute,
            input=found.input_tokens_per_minute,
            output=found.output_tokens_per_minute,
            concurrency=found.concurrency,
        )

    return of
