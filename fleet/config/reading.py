"""From a file and an environment to one Config, or to everything that is wrong with the two."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.config.budget import BudgetConfig
from fleet.config.env import Env, read_env
from fleet.config.plain import read_plain
from fleet.config.proxy import ProxyConfig
from fleet.config.sandbox import SandboxConfig
from fleet.config.sections import (
    FleetConfig,
    GateConfig,
    LandingConfig,
    LoopsConfig,
    WorkspaceConfig,
)
from fleet.core.errors import ConfigError, Problem
from fleet.core.table import Loose, Table, in_order
from fleet.core.toml import Document, parse

FILE = "fleet.toml"
SECTIONS = ("fleet", "workspace", "sandbox", "gate", "landing", "proxy", "budget", "loops")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    fleet: FleetConfig
    workspace: WorkspaceConfig
    sandbox: SandboxConfig
    gate: GateConfig
    landing: LandingConfig
    proxy: ProxyConfig
    budget: BudgetConfig
    loops: LoopsConfig
    env: Env

    def secrets(self) -> tuple[str, ...]:
        """The keys themselves, as far as they are set here: for nothing but to keep them out."""
        return tuple(self.env.passed(self.proxy.secret_names()).values())


def load(top: Path, environ: Mapping[str, str], *, force: bool = False) -> Config:
    """The configuration of the repository at `top`, or a ConfigError with all its problems."""
    problems: list[Problem] = []
    home = Path(environ.get("HOME") or Path.home())
    document = _document(top, problems)
    root = Table(document.data, document, problems)
    tables = {name: root.table(name, _overrides(name, environ)) for name in SECTIONS}
    config = Config(
        fleet=FleetConfig.read(tables["fleet"], force=force),
        workspace=WorkspaceConfig.read(tables["workspace"], top=top, home=home),
        sandbox=SandboxConfig.read_from(tables["sandbox"], home=home),
        gate=GateConfig.read(
            tables["gate"], cores=len(os.sched_getaffinity(0)), memory_mb=_memory_mb()
        ),
        landing=LandingConfig.read(tables["landing"]),
        proxy=ProxyConfig.read(tables["proxy"], document, environ=environ, top=top),
        budget=BudgetConfig.read(tables["budget"]),
        loops=LoopsConfig.read(tables["loops"]),
        env=read_env(environ, home, problems),
    )
    for table in tables.values():
        table.finish()
    root.finish(called="section")
    if problems:
        raise ConfigError(in_order(problems))
    return config


def _document(top: Path, problems: list[Problem]) -> Document:
    empty = Document(FILE, {}, {})
    if not os.path.lexists(top / FILE):
        return empty
    raw = read_plain(top / FILE, FILE)
    found = raw if isinstance(raw, Problem) else parse(raw, FILE)
    if isinstance(found, Problem):
        problems.append(found)
        return empty
    return found


def _overrides(section: str, environ: Mapping[str, str]) -> dict[str, tuple[str, Loose]]:
    """What the environment says; a variable that is set but empty says nothing."""
    prefix = f"FLEET_{section.upper()}_"
    return {
        name.removeprefix(prefix).lower(): (name, Loose(value))
        for name, value in environ.items()
        if name.startswith(prefix) and value
    }


def _memory_mb() -> int:
    """Of this machine, or of the container it looks like."""
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        most = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such thing, or "max"
        most = own
    return min(own, most) // 1_000_000
