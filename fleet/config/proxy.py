"""`[proxy]`: where model traffic goes, how long it may take, and who shares an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fleet.config.budget import PriceConfig, read_prices
from fleet.config.limits import LimitConfig, read_limits
from fleet.config.upstreams import UpstreamConfig, read_upstreams
from fleet.core.profile import Api
from fleet.core.table import Table, did_you_mean, shown
from fleet.core.toml import Document

MB = 1 << 20
# May hold a key whatever the file says: nobody but the proxy gets them.
ALWAYS_SECRET = frozenset(
    {
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
    }
)


class Dedup(StrEnum):
    """Who shares an answer to the same request."""

    FLEET = "fleet"  # all agents
    SESSION = "session"  # only what one agent sends again
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    port: int  # 0: a free one, and the same again after a restart
    metrics_port: int
    dedup: Dedup
    cache_ttl_s: float
    cache_bytes: int  # 0: nothing is kept
    grace_s: float  # a call nobody waits for any more goes on so long
    hold_back_s: float  # an answer without content yet is kept from clients so long
    connect_timeout_s: float
    first_byte_timeout_s: float
    idle_timeout_s: float
    total_timeout_s: float
    body_bytes: int  # of one request
    bodies_bytes: int  # of all requests held at once
    hold_max_s: float  # a request that would have to wait longer parks its attempt
    tries: int  # of a request, for an upstream's failures
    breaker_open_s: float  # an upstream that fails is not asked for so long at first
    upstreams: tuple[
        UpstreamConfig, ...
    ]  # those that speak the dialect and take the model, in turn
    limits: tuple[LimitConfig, ...] = ()
    prices: Mapping[str, PriceConfig] = field(default_factory=dict)  # by model, exactly

    @classmethod
    def read(
        cls, table: Table, document: Document, *, environ: Mapping[str, str], top: Path
    ) -> ProxyConfig:
        found = cls(
            port=table.integer("port", 0, high=65_535),
            metrics_port=table.integer("metrics_port", 0, high=65_535),
            dedup=table.choice("dedup", Dedup.FLEET),
            cache_ttl_s=table.seconds("cache_ttl", 3600.0),
            cache_bytes=table.integer("cache_mb", 64, high=65_536) * MB,
            grace_s=table.seconds("grace", 3.0, high=3600.0),
            hold_back_s=table.seconds("hold_back", 15.0, high=3600.0),
            connect_timeout_s=table.seconds("connect_timeout", 10.0, high=3600.0),
            first_byte_timeout_s=table.seconds("first_byte_timeout", 600.0),
            idle_timeout_s=table.seconds("idle_timeout", 300.0),
            total_timeout_s=table.seconds("total_timeout", 3600.0),
            body_bytes=table.integer("body_mb", 32, low=1, high=1024) * MB,
            bodies_bytes=table.integer("bodies_mb", 256, low=1, high=65_536) * MB,
            hold_max_s=table.seconds("hold_max", 240.0, high=3600.0),
            tries=table.integer("tries", 4, low=1, high=20),
            breaker_open_s=table.seconds("breaker_open", 60.0, high=3600.0),
            limits=read_limits(table),
            prices=read_prices(table),
            upstreams=read_upstreams(table, document, environ=environ, top=top),
        )
        if found.port and found.port == found.metrics_port:
            table.report("metrics_port", "metrics_port is port", "give them two ports")
        if found.bodies_bytes < found.body_bytes:
            table.report(
                "bodies_mb", "bodies_mb has no room for one body_mb", "raise it, or lower body_mb"
            )
        names = {upstream.name for upstream in found.upstreams}
        for limit in found.limits:
            if limit.upstream and limit.upstream not in names:
                what = f"there is no upstream {shown(limit.upstream)} to limit"
                table.report("limits", what, did_you_mean(limit.upstream, names))
        return found

    def secret_names(self) -> frozenset[str]:
        """Every variable that may hold a key."""
        return ALWAYS_SECRET.union(*(upstream.keys for upstream in self.upstreams))

    def upstream_for(self, api: Api, model: str) -> UpstreamConfig | None:
        """Who will be asked; without a model, who may be."""
        return next(
            (found for found in self.upstreams if api in found.kind.speaks and found.takes(model)),
            None,
        )
