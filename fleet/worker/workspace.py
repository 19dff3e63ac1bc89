"""The folders of one attempt: its private clone, its HOME, its temporary files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from fleet.core.attempt import Claim
from fleet.core.event import Event, Kind
from fleet.core.profile import Profile
from fleet.core.task import HELD
from fleet.repo import workspace
from fleet.repo.harvest import Harvest, Signature, Where, harvest
from fleet.repo.survey import Limits
from fleet.store import aside, events, sessions
from fleet.store.claims import is_held, try_hold
from fleet.wiring import AUTHOR_EMAIL, Fleet

OLD_S = 3600.0  # a file that is still half written by then will not be finished
LARGEST_FILES = 10  # an agent's work may take this many times the largest file allowed


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
        fleet.layout.workspace_base(claim.task.id, claim.epoch).write_text(base)
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

    def are_whole(self) -> bool:
        """Whether another attempt can go on in them: an agent may have put links in their place,
        and whoever follows one works, writes and removes locks elsewhere."""
        own = (self.root, self.work, self.work / ".git", self.home, self.tmp)
        return all(folder.is_dir() and not folder.is_symlink() for folder in own)

    def unlock(self) -> None:
        """A git that was killed has left its locks; whoever held them is dead."""
        for lock in (self.work / ".git").glob("*.lock"):
            lock.unlink(missing_ok=True)


def open_rooms(fleet: Fleet, task: str, epoch: int) -> Rooms:
    return Rooms(root=fleet.layout.workspace(task, epoch))


def harvest_work(
    fleet: Fleet, claim: Claim, rooms: Rooms, *, base: str, profile: Profile
) -> Harvest:
    """Bring what the agent made into the hub, committed or not."""
    task, epoch = claim.task.id, claim.epoch
    return _harvest(
        fleet,
        rooms,
        (task, epoch),
        base=base,
        ref=f"refs/fleet/attempts/{task}/{epoch}",
        signature=_signature(claim.task.headline, profile.name, time.time()),
        litter=profile.litter,
    )


def salvage(fleet: Fleet, task: str, epoch: int) -> None:
    """Keep what a dead attempt made: its commits and its uncommitted files, under a ref. Its
    folders stay if the next attempt can go on in them. Done again, after a crash, it makes the same
    commit."""
    rooms = open_rooms(fleet, task, sessions.rooms_of(fleet.db, task, epoch) or epoch)
    base, began = fleet.attempt_start(task, epoch)
    if base and (rooms.work / ".git").is_dir() and fleet.hub.has(base):
        kept = _harvest(
            fleet,
            rooms,
            (task, epoch),
            base=base,
            ref=f"{_salvage_prefix(task, epoch)}work",
            signature=_signature(f"Salvaged from {task}.{epoch}", "unknown", began),
        )
        if kept.changed:
            events.emit(
                fleet.db,
                Event(kind=Kind.SALVAGED, at=time.time(), task=task, epoch=epoch, commit=kept.head),
            )
    if sessions.find(fleet.db, task, epoch) is None:
        close(fleet, rooms)


def close(fleet: Fleet, rooms: Rooms) -> None:
    """Remove the folders; what the agent made is in the hub by now."""
    if rooms.root.exists() and not fleet.config.workspace.keep:
        workspace.remove(rooms.root, beneath=fleet.layout.workspaces)


def sweep(fleet: Fleet) -> None:
    """Remove what was kept for attempts that will not come, since their tasks have ended, and what
    those left that were killed."""
    layout = fleet.layout
    others = (layout.lander_lock, layout.proxy_lock, *layout.worker_locks())
    for folder in aside.abandoned(layout):
        workspace.remove(folder, beneath=layout.workspaces)
    for file in aside.temporaries(layout, older_than_s=OLD_S if any(map(is_held, others)) else 0.0):
        file.unlink(missing_ok=True)
    for left in list(sessions.of_ended_tasks(fleet.db)):
        close(fleet, open_rooms(fleet, left.task, left.rooms))
        sessions.forget(fleet.db, left.task, left.rooms)
    for folder in list(fleet.layout.workspaces.iterdir()):
        task, _, epoch = folder.name.rpartition(".")
        if epoch.isdecimal() and fleet.roster.task(task) is not None:
            _sweep_attempt(fleet, task, int(epoch))


def _sweep_attempt(fleet: Fleet, task: str, epoch: int) -> None:
    """Unless somebody works there, has died there and is not yet buried, or may go on there."""
    lock = try_hold(fleet.layout.claim_lock(task))
    if lock is None:
        return
    with lock:
        dead = fleet.ledger.stands(task, epoch, HELD)
        if not dead and not sessions.may_go_on(fleet.db, task, epoch):
            close(fleet, open_rooms(fleet, task, epoch))
            sessions.forget(fleet.db, task, epoch)


def _harvest(
    fleet: Fleet,
    rooms: Rooms,
    attempt: tuple[str, int],
    *,
    base: str,
    ref: str,
    signature: Signature,
    litter: tuple[str, ...] = (),
) -> Harvest:
    rooms.scratch.mkdir(mode=0o700, exist_ok=True)
    largest = fleet.rules.max_file_bytes
    return harvest(
        fleet.hub,
        Where(
            workspace=rooms.work,
            scratch=rooms.scratch,
            index=rooms.index if rooms.index.exists() else None,
            ref=ref,
            salvage_prefix=_salvage_prefix(*attempt),
            litter=litter,
        ),
        base=base,
        agent_env=fleet.agent_environment(rooms.home, rooms.tmp),
        signature=signature,
        limits=Limits(file=largest, total=largest * LARGEST_FILES),
    )


def _salvage_prefix(task: str, epoch: int) -> str:
    return f"refs/fleet/salvage/{task}/{epoch}/"


def _signature(message: str, agent: str, at: float) -> Signature:
    return Signature(message=message, name=f"fleet agent ({agent})", email=AUTHOR_EMAIL, at=int(at))
