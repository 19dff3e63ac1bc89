"""The folders of one attempt: its private clone, its HOME, its temporary files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from fleet.core.attempt import Claim
from fleet.core.event import Event, Kind
from fleet.repo import workspace
from fleet.repo.harvest import Harvest, harvest
from fleet.store import events
from fleet.wiring import AUTHOR_EMAIL, Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Beneath `<cache>/fleet/<repository>/<task>.<epoch>/`; the names are never used again."""

    root: Path

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def index(self) -> Path:
        """The index as it was after checkout: it saves the harvest from hashing every file."""
        return self.root / "index"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def prepare(self, fleet: Fleet, claim: Claim, base: str) -> None:
        for folder in (self.root, self.home, self.tmp, self.scratch):
            folder.mkdir(mode=0o700, parents=True)
        workspace.create(
            fleet.hub,
            self.work,
            base=base,
            branch=f"fleet/{claim.key}",
            author_name="fleet agent",
            author_email=AUTHOR_EMAIL,
            index_copy=self.index,
        )
        workspace.include_ignored(fleet.layout.top, self.work)


def open_rooms(fleet: Fleet, claim: Claim) -> Rooms:
    return Rooms(root=fleet.layout.workspace(claim.task.id, claim.epoch))


def harvest_work(fleet: Fleet, claim: Claim, rooms: Rooms, *, base: str, agent: str) -> Harvest:
    """Bring what the agent made into the hub, committed or not."""
    task, epoch = claim.task, claim.epoch
    return _harvest(
        fleet,
        rooms,
        base=base,
        ref=f"refs/fleet/attempts/{task.id}/{epoch}",
        prefix=f"refs/fleet/salvage/{task.id}/{epoch}/",
        message=task.headline,
        author=f"fleet agent ({agent})",
    )


def salvage(fleet: Fleet, task: str, epoch: int) -> None:
    """Keep what a dead attempt made: its commits and its uncommitted files, under a ref."""
    rooms = Rooms(root=fleet.layout.workspace(task, epoch))
    base = fleet.attempt_base(task, epoch)
    if base and (rooms.work / ".git").is_dir() and fleet.hub.has(base):
        kept = _harvest(
            fleet,
            rooms,
            base=base,
            ref=f"refs/fleet/salvage/{task}/{epoch}/work",
            prefix=f"refs/fleet/salvage/{task}/{epoch}/",
            message=f"Salvaged from {task}.{epoch}",
            author="fleet agent",
        )
        if kept.changed:
            events.emit(
                fleet.db,
                Event(kind=Kind.SALVAGED, at=time.time(), task=task, epoch=epoch, commit=kept.head),
            )
    close(fleet, rooms)


def close(fleet: Fleet, rooms: Rooms) -> None:
    """Remove the folders; what the agent made is in the hub by now."""
    if not fleet.config.workspace.keep:
        workspace.remove(rooms.root, beneath=fleet.layout.workspaces)


def _harvest(
    fleet: Fleet, rooms: Rooms, *, base: str, ref: str, prefix: str, message: str, author: str
) -> Harvest:
    rooms.scratch.mkdir(mode=0o700, exist_ok=True)
    return harvest(
        fleet.hub,
        rooms.work,
        base=base,
        ref=ref,
        salvage_prefix=prefix,
        index_copy=rooms.index,
        scratch=rooms.scratch,
        agent_env=fleet.agent_environment(rooms.home, rooms.tmp),
        message=message,
        author_name=author,
        author_email=AUTHOR_EMAIL,
        at=time.time(),
        max_bytes=fleet.config.gate.max_file_mb * 10_000_000,
    )
