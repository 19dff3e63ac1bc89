"""What each section of fleet.toml holds, but for the proxy's."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet.config.plain import wrong_glob
from fleet.config.steering import STEERING
from fleet.core.table import Table

MOST_AGENTS = 100  # more need --force

LOCK_FILES = ("uv.lock", "poetry.lock", "requirements.txt", "pyproject.toml")

# What decides how work is judged, and what other agents will be told. A `**/` is also the top.
PROTECTED = (
    "**/conftest.py",
    "**/pytest.ini",
    "**/.pytest.ini",
    "**/pytest.toml",
    "**/.pytest.toml",
    "**/tox.ini",
    "**/tox.toml",
    "**/setup.cfg",
    "**/pyproject.toml",
    "**/ruff.toml",
    "**/.ruff.toml",
    "**/mypy.ini",
    "**/.mypy.ini",
    "**/pyrightconfig.json",
    "**/.flake8",
    "**/.pylintrc",
    "**/pylintrc",
    "**/.coveragerc",
    "**/.bandit",
    "**/uv.toml",
    # What Python runs or reads before anything else, and what tools keep for the next time.
    "**/sitecustomize.py",
    "**/usercustomize.py",
    "**/pyvenv.cfg",
    "**/*.pth",
    "**/*.egg-info/**",
    "**/*.dist-info/**",
    "**/*.egg-link",
    "**/__pycache__/**",
    "**/*.pyc",
    "**/.pytest_cache/**",
    "**/.mypy_cache/**",
    "**/.ruff_cache/**",
    "**/.hypothesis/**",
    ".github/**",
    "fleet.toml",
    "tasks/**",
    "agents/*.toml",
    "**/.claude/**",
    "**/.mcp.json",
    "**/.codex/**",
)


class OnProtected(StrEnum):
    """What becomes of a change to a protected path."""

    RESTORE = "restore"  # it is taken back, and the rest goes on
    REFUSE = "refuse"  # it fails the attempt


class Suppressions(StrEnum):
    """What becomes of a change that adds comments which silence checks."""

    REFUSE = "refuse"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    agents: int
    agent: str  # "": every task names its own
    target: str  # "": the branch that is checked out
    tasks: str  # a folder or a file, from the top
    timeout_s: float
    no_progress_s: float
    max_attempts: int
    retry_delay_s: float  # the first back-off
    retry_delay_cap_s: float
    network_fs: bool  # allow a file system that other machines may share

    @classmethod
    def read(cls, table: Table, *, force: bool) -> FleetConfig:
        found = cls(
            agents=table.integer("agents", 4, low=1, high=10_000),
            agent=table.text("agent"),
            target=table.text("target"),
            tasks=table.text("tasks", "tasks"),
            timeout_s=table.seconds("timeout", 1800.0),
            no_progress_s=table.seconds("no_progress", 600.0),
            max_attempts=table.integer("max_attempts", 3, low=1, high=100),
            retry_delay_s=table.seconds("retry_delay", 5.0),
            retry_delay_cap_s=table.seconds("retry_delay_cap", 300.0),
            network_fs=table.boolean("network_fs", default=False),
        )
        if found.agents > MOST_AGENTS and not force:
            table.report("agents", f"agents is {found.agents}", "1 to 100; more need --force")
        if found.retry_delay_s > found.retry_delay_cap_s:
            table.report(
                "retry_delay",
                f"retry_delay ({found.retry_delay_s:g} s) is longer than retry_delay_cap "
                f"({found.retry_delay_cap_s:g} s)",
                "shorten it, or raise the cap",
            )
        if wrong_glob(found.tasks):
            table.report("tasks", f"tasks {wrong_glob(found.tasks)}", 'such as tasks = "tasks"')
        if re.search(r"\s|\.\.|^-|[~^:?*\[\\]", found.target):
            table.report("target", "target is no name of a branch", 'such as target = "main"')
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceConfig:
    root: str  # "": Env.cache
    setup: tuple[str, ...]  # commands, run once for each content of the lock files
    lock_files: tuple[str, ...]
    keep: bool  # workspaces of failed attempts
    min_free_mb: int  # on the disks of workspaces and state, before anything is begun

    @classmethod
    def read(cls, table: Table, *, top: Path, home: Path) -> WorkspaceConfig:
        root = table.text("root")
        if root:
            root = str(home / root[2:]) if root.startswith("~/") else root
            fix = 'such as root = "~/.cache/fleet"'
            if not Path(root).is_absolute():
                table.report("root", "root is not an absolute path", fix)
            elif Path(os.path.normpath(root)).is_relative_to(top):
                table.report("root", "root is inside the repository, where tools would see it", fix)
        return cls(
            root=root,
            setup=table.commands("setup"),
            lock_files=table.texts("lock_files", LOCK_FILES, wrong=wrong_glob),
            keep=table.boolean("keep", default=False),
            min_free_mb=table.integer("min_free_mb", 500, high=10_000_000),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    commands: tuple[str, ...]
    python: str  # "": found by the gate
    timeout_s: float  # for each command
    retries: int  # how often a gate that could not run is tried again
    protected: tuple[str, ...]  # globs
    on_protected: OnProtected
    suppressions: Suppressions
    max_file_mb: int
    max_processes: int  # of one command
    max_memory_mb: int  # of all its processes together
    max_disk_mb: int  # by which its folders may grow
    min_free_mb: int  # of the disk: with less, it is ended
    slots: int  # gates that may run at once; at least 1

    @classmethod
    def read(cls, table: Table, *, cores: int, memory_mb: int) -> GateConfig:
        return cls(
            commands=table.commands("commands", ("pytest", "ruff check .")),
            python=table.text("python"),
            timeout_s=table.seconds("timeout", 600.0),
            retries=table.integer("retries", 2, high=10),
            protected=table.texts("protected", (*PROTECTED, *STEERING), wrong=wrong_glob),
            on_protected=table.choice("on_protected", OnProtected.RESTORE),
            suppressions=table.choice("suppressions", Suppressions.REFUSE),
            max_file_mb=table.integer("max_file_mb", 100, low=1, high=10_000),
            max_processes=table.integer("max_processes", 1_000, low=1, high=1_000_000),
            max_memory_mb=table.integer("max_memory_mb", 0) or max(256, memory_mb * 3 // 4),
            max_disk_mb=table.integer("max_disk_mb", 10_000, low=1),
            min_free_mb=table.integer("min_free_mb", 200),
            slots=table.integer("slots", 0, high=256) or max(1, cores // 2),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopsConfig:
    """When an agent goes round in circles; 0 is never."""

    same_call: int  # the same tool call, so often in a row
    turns_without_change: int  # answers of its model, while no file of its workspace changes
    tokens_per_minute: int  # without cache reads, over three minutes

    @classmethod
    def read(cls, table: Table) -> LoopsConfig:
        return cls(
            same_call=table.integer("same_call", 10),
            turns_without_change=table.integer("turns_without_change", 100),
            tokens_per_minute=table.integer("tokens_per_minute", 1_000_000),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingConfig:
    batch: int  # submissions proven together

    @classmethod
    def read(cls, table: Table) -> LandingConfig:
        return cls(batch=table.integer("batch", 5, low=1, high=20))
