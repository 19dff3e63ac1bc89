"""The walls this machine has, and a program's command as it is put behind them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.process.sandbox import bubblewrap, landlock, system
from fleet.process.sandbox.view import GUEST, HOME, TMP, Allowed, Bind, Rung, View, shown

FIRST = Path(__file__).with_name("inside.py")
LEAST_LANDLOCK = 1
NOTHING_MORE = Allowed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start, and behind which walls it then is."""

    argv: tuple[str, ...]
    rung: Rung = Rung.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a program finds its own, by its own reckoning."""

    work: Path
    home: Path
    tmp: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One rung of this machine, for any number of programs."""

    rung: Rung
    bwrap: str = ""
    installed: tuple[Path, ...] = ()
    private: tuple[Path, ...] = ()
    allowed: Allowed = NOTHING_MORE

    def __str__(self) -> str:
        match self.rung:
            case Rung.BUBBLEWRAP:
                net = "" if self.allowed.network else " and network"
                return f"bubblewrap: agents and gates have files, processes{net} of their own"
            case Rung.LANDLOCK:
                return (
                    "Landlock: agents and gates reach their own files and the proxy's port, but "
                    "share processes, UDP and sockets that are files (bubblewrap parts those too)"
                )
            case Rung.NONE:
                return "none: agents and gates see all that you see"

    def showing(self, programs: Iterable[Path | None]) -> Sandbox:
        """The same, for programs that lie elsewhere too."""
        named = [program for program in programs if program is not None]
        more = system.installations("", named, self.private)
        return replace(self, installed=tuple(dict.fromkeys((*self.installed, *more))))

    def named(self, argv: Sequence[str]) -> tuple[Bind, ...]:
        """What a command names by its place, such as a script: its folder, where that may be
        shown, so that it finds what lies beside it."""
        paths = [Path(word) for word in argv if word.startswith("/") and os.path.lexists(word)]
        return tuple(
            shown(path if system.holds_any(path.parent, self.private) else path.parent)
            for path in paths
            if not system.holds_any(path, self.private)
        )

    def place(self, view: View) -> Place:
        if self.rung is Rung.BUBBLEWRAP:
            return Place(work=view.work.inside, home=HOME, tmp=TMP)
        return Place(work=view.work.host, home=view.home, tmp=view.tmp)

    def seen(self, path: Path, inside: Path) -> Path:
        """Where a program finds a file that is handed in as `inside`."""
        return inside if self.rung is Rung.BUBBLEWRAP else path

    def env(self) -> dict[str, str]:
        """What a program should know of its walls: some refuse root's rights without them."""
        return {"IS_SANDBOX": "1"} if self.rung is Rung.BUBBLEWRAP else {}

    def command(self, argv: Sequence[str], view: View, env: Mapping[str, str]) -> Command:
        """The same program behind the walls. One that is not there at all stays as it is, so that
        starting it fails as it always does."""
        if self.rung is Rung.NONE or not argv or not _is_there(argv[0], view, env):
            return Command(argv=tuple(argv))
        view = replace(
            view,
            binds=(*view.binds, *self.allowed.binds),
            network=view.network or self.allowed.network,
        )
        if self.rung is Rung.LANDLOCK:
            spec: dict[str, object] = {"landlock": landlock.rules(view, (*self.installed, FIRST))}
            first = _first(FIRST, spec)
            return Command(argv=(*first, *argv), rung=self.rung)
        spec = {}
        if view.forward is not None and not view.network:
            socket = GUEST / "proxy" / view.forward.socket
            spec["forward"] = {"port": view.forward.port, "socket": str(socket)}
        guest = GUEST / "inside.py"
        words = bubblewrap.options(view, self.installed, hands_in=((FIRST, guest),))
        return Command(argv=(self.bwrap, *words, "--", *_first(guest, spec), *argv), rung=self.rung)


NO_WALLS = Sandbox(rung=Rung.NONE)


def climb(search: str, *, private: Iterable[Path], allowed: Allowed) -> Sandbox:
    """The highest rung of this machine. `search` is the PATH of the programs to come, `private`
    what none of them may see."""
    found = bubblewrap.find(search)
    rung = Rung.BUBBLEWRAP if found else Rung.NONE
    if not found and landlock.abi() >= LEAST_LANDLOCK:
        rung = Rung.LANDLOCK
    if rung is Rung.NONE:
        return NO_WALLS
    private = tuple(private)
    installed = system.installations(search, (system.BASE_PYTHON,), private)
    return Sandbox(
        rung=rung,
        bwrap=found or "",
        installed=installed,
        private=private,
        allowed=allowed,
    )


def _first(program: Path, spec: dict[str, object]) -> tuple[str, ...]:
    return (str(system.BASE_PYTHON), "-I", "-S", str(program), json.dumps(spec))


def _is_there(word: str, view: View, env: Mapping[str, str]) -> bool:
    if "/" not in word:
        return shutil.which(word, path=env.get("PATH", os.defpath)) is not None
    path = Path(word)
    inside = view.work.inside
    if path.is_relative_to(inside):
        path = view.work.host / path.relative_to(inside)
    return os.path.lexists(view.work.host / path)
