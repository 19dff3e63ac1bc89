"""The walls around agents and gates: `[sandbox]`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet.core.table import Table


class SandboxMode(StrEnum):
    OFF = "off"  # agents and gates see all that you see
    AUTO = "auto"  # the best this machine has, and a warning where it has none
    REQUIRED = "required"  # nothing runs without


class Network(StrEnum):
    """What agents and gates reach."""

    PROXY = "proxy"  # their own loopback, and the proxy
    OPEN = "open"  # everything you reach


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    mode: SandboxMode
    network: Network
    read: tuple[Path, ...]  # what may be read besides the system and PATH
    write: tuple[Path, ...]  # what may be written besides their own

    @classmethod
    def read_from(cls, table: Table, *, home: Path) -> SandboxConfig:
        return cls(
            mode=table.choice("mode", SandboxMode.AUTO),
            network=table.choice("network", Network.PROXY),
            read=_paths(table, "read", home),
            write=_paths(table, "write", home),
        )


def _paths(table: Table, key: str, home: Path) -> tuple[Path, ...]:
    words = table.texts(key, wrong=_wrong)
    return tuple(home / word[2:] if word.startswith("~/") else Path(word) for word in words)


def _wrong(word: str) -> str:
    if not word.startswith(("/", "~/")):
        return "is not an absolute path, nor one beneath ~/"
    if ".." in Path(word).parts or len(Path(word).parts) < 2:
        return "is no folder that could be shown alone"
    return ""
