"""Who works in the git races: what one worker and the lander do, and the log they all write to."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from fleet.repo import merge, workspace
from fleet.repo.branch import Advance
from fleet.repo.tip import Tip, accepted
from tests.repo.scene import AT, Attempt, Scene, commit, git, write

LANDER = -1
NAP_S = 0.02


class Log:
    """One line a write, from any process. O an operation, M a commit made, R one ready to land,
    F a failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, *words: object) -> None:
        line = " ".join(" ".join(map(str, (what, *words))).split())
        os.write(self._fd, f"{line}\n".encode())

    def words(self, what: str) -> list[list[str]]:
        lines = self._path.read_text().splitlines()
        return [line.split()[1:] for line in lines if line.startswith(f"{what} ")]

    def count(self) -> int:
        return len(self.words("O"))


class Yard:
    """The folder they share."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        self.folder = folder
        self.scene = scene
        self.log = Log(folder / "log")
        self.closing = folder / "closing"  # exists once everybody is to finish
        self.advancing = folder / "advancing"  # what the lander is about to do, as in its ledger
        self._harness = os.getpid()

    def closes(self) -> bool:
        return self.closing.exists() or os.getppid() != self._harness

    def is_quiet(self) -> bool:
        """Whether nobody can still make something that is to land."""
        return all((root / "done").exists() for root in self.folder.glob("worker*.*"))

    def landed(self, tip: str) -> set[str]:
        """The epochs whose landing is on the branch, by their subjects."""
        said = git(self.scene.hub.path, "log", "--first-parent", "--format=%s", tip)
        return {line.removeprefix("landing ") for line in said.splitlines()}


@dataclass(frozen=True, kw_only=True)
class Room:
    """One attempt's folder, named after its worker; what is done with it is marked in it."""

    yard: Yard
    root: Path

    @property
    def attempt(self) -> Attempt:
        base = (self.root / "base").read_text()
        epoch = int(self.root.suffix[1:])
        return Attempt(scene=self.yard.scene, root=self.root, epoch=epoch, base=base)

    @property
    def done(self) -> Path:
        return self.root / "done"


def be_worker(yard: Yard, slot: int) -> None:
    _save(yard, slot)
    while not yard.closes():
        _round(yard, slot)


def _save(yard: Yard, slot: int) -> None:
    """What the predecessor left is harvested, as the next claimer does it."""
    for root in sorted(yard.folder.glob(f"worker{slot}.*")):
        room = Room(yard=yard, root=root)
        if room.done.exists():
            continue
        if (root / "work/.git").is_dir() and (root / "base").exists():
            room.attempt.harvest()
            yard.log.write("O", "salvage")
        room.done.touch()


def _round(yard: Yard, slot: int) -> None:
    scene, log = yard.scene, yard.log
    room = Room(yard=yard, root=yard.folder / f"worker{slot}.{time.time_ns()}")
    room.root.mkdir()
    base = accepted(scene.target, scene.hub).commit
    (room.root / "base").write_text(base)
    attempt = room.attempt
    workspace.create(
        scene.hub,
        attempt.work,
        base=base,
        branch=f"fleet/t.{attempt.epoch}",
        author_name="agent",
        author_email="agent@localhost",
        index_copy=room.root / "index",
    )
    log.write("O", "create")
    made = commit(attempt.work, {f"f{attempt.epoch}": f"{attempt.epoch}\n"})
    log.write("M", attempt.epoch, made)
    write(attempt.work, {f"left{attempt.epoch}": "left\n"})
    got = attempt.harvest()
    if got.problem or not got.changed:
        raise AssertionError(f"harvest of {attempt.epoch}: {got}")
    log.write("O", "harvest")
    log.write("R", slot, attempt.epoch, got.head)
    room.done.touch()
    workspace.remove(room.root, beneath=yard.folder)


def be_lander(yard: Yard, slot: int) -> None:
    """The lander's turn in small: finish what was begun, look, land one, or bring the branch up."""
    rng = random.Random(slot)
    while True:
        tip = _look(yard)
        landed = yard.landed(tip.commit)
        waiting = [words for words in yard.log.words("R") if words[1] not in landed]
        if waiting:
            _land(yard, tip, *waiting[0][1:])
        elif tip.landed is not None:
            if _advance(yard, tip.users, tip.landed) is Advance.MOVED:
                yard.scene.target.drop_landed(tip.landed)
        elif yard.closes() and yard.is_quiet():
            return
        else:
            time.sleep(NAP_S * rng.random())


def _look(yard: Yard) -> Tip:
    target = yard.scene.target
    if yard.advancing.exists():
        old, new = yard.advancing.read_text().split()
        if target.repair(old, new):
            yard.advancing.unlink()
    tip = accepted(target, yard.scene.hub)
    if tip.landed is not None and tip.commit == tip.users:
        target.drop_landed(tip.landed)
        tip = Tip(commit=tip.users, users=tip.users, landed=None)
    return tip


def _land(yard: Yard, tip: Tip, epoch: str, head: str) -> None:
    scene, log = yard.scene, yard.log
    merged = merge.merge(scene.hub, tip.commit, head)
    if merged.conflicts:
        raise AssertionError(f"{epoch} conflicts in {merged.conflicts}")
    log.write("O", "merge")
    new = merge.commit(
        scene.hub, merged.tree, (tip.commit, head), f"landing {epoch}\n",
        author_name="fleet", author_email="fleet@localhost", at=AT,
    )  # fmt: skip
    log.write("O", "commit-tree")
    scene.target.send(scene.hub, new)
    log.write("O", "send")
    how = _advance(yard, tip.users, new)
    log.write("O", f"advance-{how}")
    if how is Advance.BLOCKED:
        if not scene.target.set_landed(new, tip.landed):
            raise AssertionError(f"{epoch} cannot wait on fleet/landed")
    elif how is Advance.MOVED and tip.landed is not None:
        scene.target.drop_landed(tip.landed)
    if not scene.hub.set_ref("refs/fleet/seen", new):
        raise AssertionError("refs/fleet/seen of the hub cannot be set")
    log.write("O", "set-ref")


def _advance(yard: Yard, old: str, new: str) -> Advance:
    if yard.advancing.exists():
        return Advance.BLOCKED
    aside = yard.advancing.with_suffix(".new")
    aside.write_text(f"{old} {new}")
    aside.rename(yard.advancing)
    how = yard.scene.target.advance(old, new)
    yard.advancing.unlink()
    return how
