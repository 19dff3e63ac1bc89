"""fleet.toml and the environment, as one frozen Config.

Every default and bound is in this package, beside the key it belongs to; nothing else in fleet
reads settings from `os.environ`. All problems are found at once, each with its place and what to
do about it. An environment variable `FLEET_<SECTION>_<KEY>` wins over the file.
"""

from __future__ import annotations

from fleet.config.budget import BudgetConfig, PriceConfig
from fleet.config.env import Env, LogFormat
from fleet.config.kinds import OFFICIAL, Auth, UpstreamKind
from fleet.config.limits import LimitConfig, limit_of
from fleet.config.plain import read_plain, wrong_glob
from fleet.config.proxy import ALWAYS_SECRET, Dedup, ProxyConfig
from fleet.config.reading import Config, load
from fleet.config.sandbox import Network, SandboxConfig, SandboxMode
from fleet.config.sections import (
    FleetConfig,
    GateConfig,
    LandingConfig,
    LoopsConfig,
    OnProtected,
    Suppressions,
    WorkspaceConfig,
)
from fleet.config.upstreams import UpstreamConfig

__all__ = [
    "ALWAYS_SECRET",
    "OFFICIAL",
    "Auth",
    "BudgetConfig",
    "Config",
    "Dedup",
    "Env",
    "FleetConfig",
    "GateConfig",
    "LandingConfig",
    "LimitConfig",
    "LogFormat",
    "LoopsConfig",
    "Network",
    "OnProtected",
    "PriceConfig",
    "ProxyConfig",
    "SandboxConfig",
    "SandboxMode",
    "Suppressions",
    "UpstreamConfig",
    "UpstreamKind",
    "WorkspaceConfig",
    "limit_of",
    "load",
    "read_plain",
    "wrong_glob",
]
