"""A8: nothing is left of what is over. Processes, locks, workspaces, scratch folders, half files.

While somebody works, things are always on their way out; so what seems left behind is looked at
again a little later, and only what is there both times counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from fleet.core.task import HELD
from fleet.landing.audit.attempts import somebody_works
from fleet.landing.audit.breach import Breach
from fleet.process.kernel import pause
from fleet.process.table import surroundings
from fleet.process.tree import ATTEMPT_MARK
from fleet.store import aside, sessions
from fleet.store.claims import is_held
from fleet.wiring import Fleet

AGAIN_S = 2.0
_ROOMS = re.compile(r"(?P<task>[a-z0-9][a-z0-9._-]{0,63})\.(?P<epoch>[0-9]{1,10})")
_LANDER = re.compile(r"lander\.[0-9]+")


def breaches(fleet: Fleet) -> list[Breach]:
    found = set(_look(fleet))
    if found:
        pause(AGAIN_S)
        found &= set(_look(fleet))
    return [Breach(invariant="A8", what=what) for what in sorted(found)]


def _look(fleet: Fleet) -> Iterator[str]:
    live = _live(fleet)
    yield from _processes(fleet, live)
    yield from _rooms(fleet, live)
    yield from (f"{folder} was left by a gate that is dead" for folder in _scratch(fleet))
    if not somebody_works(fleet):
        yield from (f"{lock} is held, and nobody works" for lock in _held(fleet))
        yield from (f"{file} was left half-written" for file in _half_files(fleet))


def _live(fleet: Fleet) -> frozenset[tuple[str, int]]:
    return frozenset((view.task.id, view.epoch) for view in fleet.roster.tasks(states=HELD))


def _processes(fleet: Fleet, live: frozenset[tuple[str, int]]) -> Iterator[str]:
    """Those that carry a mark of an attempt that is over."""
    prefix = f"{fleet.layout.fleet_id}/"
    for process in surroundings():
        mark = os.fsdecode(process.value_of(ATTEMPT_MARK.encode()) or b"")
        if not mark.startswith(prefix) or process.pid == os.getpid():
            continue
        key = mark.removeprefix(prefix)
        if _LANDER.fullmatch(key) and is_held(fleet.layout.lander_lock):
            continue
        if _attempt(key) not in live:
            yield f"process {process.pid} still carries the mark of {key}"


def _rooms(fleet: Fleet, live: frozenset[tuple[str, int]]) -> Iterator[str]:
    """Workspaces of attempts that are over, and that no next attempt will go on in."""
    if fleet.config.workspace.keep or not fleet.layout.workspaces.is_dir():
        return
    with os.scandir(fleet.layout.workspaces) as entries:
        names = sorted(entry.name for entry in entries)
    kept = sessions.rooms_in_use(fleet.db)
    for name in names:
        found = _attempt(name)
        if found is None or found in live or found in kept:
            continue
        if not is_held(fleet.layout.claim_lock(found[0])):  # its worker is about to remove it
            yield f"the workspace {fleet.layout.workspaces / name} is of an attempt that is over"


def _scratch(fleet: Fleet) -> Iterator[Path]:
    return aside.abandoned(fleet.layout)


def _held(fleet: Fleet) -> Iterator[Path]:
    for folder in ("claims", "slots"):
        for lock in sorted((fleet.layout.state / folder).glob("*.lock")):
            if is_held(lock):
                yield lock


def _half_files(fleet: Fleet) -> Iterator[Path]:
    """Of ours, and the locks of a git of ours in the hub. What a killed git has half written among
    the objects is in nobody's way, and goes when the next lander starts."""
    yield from aside.temporaries(fleet.layout)
    hub = fleet.hub.path
    making = hub.with_name(f"{hub.name}.making")
    if making.exists():
        yield making
    for folder, _, names in os.walk(hub):
        for name in names:
            if name.endswith(".lock"):
                yield Path(folder) / name


def _attempt(name: str) -> tuple[str, int] | None:
    found = _ROOMS.fullmatch(name)
    return (found["task"], int(found["epoch"])) if found else None
