"""What a confined program is to see. Pure: nothing is looked at, nothing is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

WORKSPACE = Path("/workspace")
HOME = Path("/home/agent")
TMP = Path("/tmp")  # noqa: S108 - inside, where it is its own
GUEST = Path("/run/fleet")  # what we hand in: the proxy's socket, the prompt, the first program


class Rung(StrEnum):
    """How high the walls are."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or folder of the host, and where a program finds it if its rung can move things."""

    host: Path
    inside: Path
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """How a program in a network of its own reaches the proxy: on the port it was told of, whose
    bytes go through a socket in a folder of the host's."""

    port: int
    folder: Path
    socket: str  # its name in there: the file itself is new with each proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The world of one program, but for what everybody sees (`system.py`)."""

    work: Bind
    home: Path  # of the host, private to it
    tmp: Path
    binds: tuple[Bind, ...] = ()
    forward: Forward | None = None
    network: bool = False  # the host's, all of it

    @property
    def all(self) -> Iterator[Bind]:
        yield Bind(host=self.tmp, inside=TMP, writable=True)
        yield Bind(host=self.home, inside=HOME, writable=True)
        yield self.work
        yield from self.binds


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the user lets every program see and reach besides."""

    binds: tuple[Bind, ...] = ()
    network: bool = False


def shown(path: Path, *, writable: bool = False) -> Bind:
    """Something that stays where it is."""
    return Bind(host=path, inside=path, writable=writable)
