"""fleet.toml and the environment, as one frozen Config.

Every default and bound is here, beside the key it belongs to; nothing else in fleet reads
`os.environ`. All problems are found at once, each with its place and what to do about it.
An environment variable `FLEET_<SECTION>_<KEY>` wins over the file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fleet.core.errors import ConfigError, Problem
from fleet.core.table import Loose, Table, did_you_mean, in_order, shown
from fleet.core.toml import MAX_BYTES, Document, parse

FILE = "fleet.toml"
SECTIONS = ("fleet", "workspace", "gate", "landing")
MOST_AGENTS = 100  # more need --force

LOCK_FILES = ("uv.lock", "poetry.lock", "requirements.txt", "pyproject.toml")

# What decides how work is judged, and what other agents will be told. A `**/` is also the top.
PROTECTED = (
    "**/conftest.py",
    "**/pytest.ini",
    "**/.pytest.ini",
    "**/tox.ini",
    "**/setup.cfg",
    "**/pyproject.toml",
    "**/ruff.toml",
    "**/.ruff.toml",
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


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


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
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    commands: tuple[str, ...]
    python: str  # "": found by the gate
    timeout_s: float  # for each command
    retries: int  # how often a gate that could not run is tried again
    protected: tuple[str, ...]  # globs
    on_protected: OnProtected
    max_file_mb: int
    slots: int  # gates that may run at once; at least 1

    @classmethod
    def read(cls, table: Table, *, cores: int) -> GateConfig:
        return cls(
            commands=table.commands("commands", ("pytest", "ruff check .")),
            python=table.text("python"),
            timeout_s=table.seconds("timeout", 600.0),
            retries=table.integer("retries", 2, high=10),
            protected=table.texts("protected", PROTECTED, wrong=wrong_glob),
            on_protected=table.choice("on_protected", OnProtected.RESTORE),
            max_file_mb=table.integer("max_file_mb", 100, low=1, high=10_000),
            slots=table.integer("slots", 0, high=256) or max(1, cores // 2),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingConfig:
    batch: int  # submissions proven together

    @classmethod
    def read(cls, table: Table) -> LandingConfig:
        return cls(batch=table.integer("batch", 5, low=1, high=20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """What fleet takes from the environment it was started in."""

    path: str
    cache: str  # where workspaces go, unless the file says otherwise
    log_format: LogFormat
    variables: Mapping[str, str] = field(repr=False)  # may hold secrets: `passed` gives out few

    def passed(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the named variables that are set."""
        return {name: self.variables[name] for name in names if name in self.variables}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    fleet: FleetConfig
    workspace: WorkspaceConfig
    gate: GateConfig
    landing: LandingConfig
    env: Env


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
        gate=GateConfig.read(tables["gate"], cores=len(os.sched_getaffinity(0))),
        landing=LandingConfig.read(tables["landing"]),
        env=_env(environ, home, problems),
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


def _env(environ: Mapping[str, str], home: Path, problems: list[Problem]) -> Env:
    wanted = environ.get("LOG_FORMAT", "").lower() or LogFormat.TEXT
    if wanted not in list(LogFormat):
        problems.append(
            Problem(
                where="LOG_FORMAT",
                what=f"there is no log format {shown(wanted)}",
                fix=did_you_mean(wanted, list(LogFormat)),
            )
        )
        wanted = LogFormat.TEXT
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    return Env(
        path=environ.get("PATH") or os.defpath,
        cache=str((cache if cache.is_absolute() else home / ".cache") / "fleet"),
        log_format=LogFormat(wanted),
        variables=dict(environ),
    )


def wrong_glob(glob: str) -> str:
    """What is the matter with a path or glob of this repository; "" if nothing is."""
    if glob.startswith(("/", "~")):
        return "is not relative to the repository"
    if ".." in glob.split("/"):
        return "leaves the repository"
    if glob.strip("/. ") == "":
        return "names no path"
    return "" if glob.isprintable() else "has characters that cannot be printed"


def read_plain(path: Path | str, name: str, *, folder: int | None = None) -> bytes | Problem:
    """The bytes of a regular file, at most one more than are allowed; never through a link, and
    without waiting for the writer of a FIFO."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Problem(where=name, what="this is a symbolic link", fix=_PLAIN)
        return Problem(where=name, what=f"cannot be read: {error.strerror}", fix=_PLAIN)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Problem(where=name, what="this is not a regular file", fix=_PLAIN)
        return _read(fd)
    except OSError as error:
        return Problem(where=name, what=f"cannot be read: {error.strerror}", fix=_PLAIN)
    finally:
        os.close(fd)


_PLAIN = "put a plain file that you may read there, or remove it"


def _read(fd: int) -> bytes:
    parts = []
    left = MAX_BYTES + 1
    while left and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
