"""What fleet takes from the environment it was started in."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fleet.core.errors import Problem
from fleet.core.table import did_you_mean, shown


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """What fleet takes from the environment it was started in."""

    path: str
    home: Path
    cache: str  # where workspaces go, unless the file says otherwise
    log_format: LogFormat
    variables: Mapping[str, str] = field(repr=False)  # may hold secrets: `passed` gives out few

    def passed(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the named variables that are set."""
        return {name: self.variables[name] for name in names if name in self.variables}

    def without(self, names: Collection[str]) -> dict[str, str]:
        """All of it for a child of ours that must not know the named variables."""
        return {name: value for name, value in self.variables.items() if name not in names}


def read_env(environ: Mapping[str, str], home: Path, problems: list[Problem]) -> Env:
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
        home=home,
        cache=str((cache if cache.is_absolute() else home / ".cache") / "fleet"),
        log_format=LogFormat(wanted),
        variables=dict(environ),
    )
