"""The user's branch: where it is, and moving it by compare-and-swap.

Never `--force`, never `reset --hard`. What could get in the way is asked before anything moves;
then the ref moves, atomically and only from where it was expected; then each checkout of it
(`checkout.py`) follows. If one cannot after all, because the user was at work in those
milliseconds, everything goes back to where it was.

Not promised: a git killed half-way through writing a checkout's files leaves its `index.lock` and
some new files there. Nothing of ours deletes either; the branch is right, and `git status` tells.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.repo.checkout import REBASES, Checkout, at
from fleet.repo.git import Git, GitError, complaint
from fleet.repo.hub import Hub

LANDED = "refs/heads/fleet/landed"
INCOMING = "refs/fleet/incoming"  # keeps what was sent until the branch points there


class Advance(StrEnum):
    MOVED = "moved"
    RACED = "raced"  # somebody else moved it
    BLOCKED = "blocked"  # a checkout has changes of its own, or files in the way


@dataclass(frozen=True, slots=True)
class Target:
    common_dir: Path
    branch: str

    @staticmethod
    def current(git_dir: Path) -> str:
        """The branch that is checked out."""
        done = Git(git_dir=git_dir).run("symbolic-ref", "--quiet", "--short", "HEAD", check=False)
        if not done.ok:
            raise FleetError(
                "HEAD is detached: check out the branch work should land on, or set [fleet] target "
                "in fleet.toml"
            )
        return done.text

    @property
    def git(self) -> Git:
        return Git(git_dir=self.common_dir)

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"

    def tip(self) -> str | None:
        return self._read(self.ref)

    def landed(self) -> str | None:
        return self._read(LANDED)

    def tips(self) -> tuple[str | None, str | None]:
        """The branch and fleet/landed, by one question."""
        asked = ("for-each-ref", "--format=%(refname) %(objectname)", self.ref, LANDED)
        lines = self.git.run(*asked).text.splitlines()
        found = {name: commit for name, _, commit in (line.partition(" ") for line in lines)}
        return found.get(self.ref), found.get(LANDED)

    def set_landed(self, new: str, old: str | None) -> bool:
        """Point fleet/landed; False if it was not at `old`."""
        args = ("update-ref", LANDED, new, old or "")
        done = self.git.run(*args, check=False)
        now_at = None if done.ok else self.landed()
        if not done.ok and now_at == old:
            raise GitError(
                f"{complaint(args, done)}: results wait on the branch fleet/landed, so there can "
                "be no branch of yours called fleet, or of that name"
            )
        return done.ok or now_at == new

    def drop_landed(self, old: str) -> bool:
        return self.git.run("update-ref", "-d", LANDED, old, check=False).ok

    def send(self, hub: Hub, commit: str) -> None:
        """Give the user's repository the objects; no branch moves yet."""
        self.git.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-prune",
            "--no-recurse-submodules", "--update-shallow", str(hub.path), f"+{commit}:{INCOMING}",
        )  # fmt: skip

    def advance(self, old: str, new: str) -> Advance:
        """Move the branch, and every checkout of it, from `old` to `new`."""
        if self.tip() != old:
            return Advance.RACED  # and its checkouts are elsewhere, which is no change of theirs
        checkouts = self.checkouts()
        if self._is_rebased() or not all(place.may_follow(old, new) for place in checkouts):
            return Advance.BLOCKED
        if not self._swap(old, new):
            return Advance.RACED
        for number, place in enumerate(checkouts):
            if not place.follow(old, new):
                return self._go_back(old, new, checkouts[:number])
        return Advance.MOVED

    def repair(self, old: str, new: str) -> None:
        """Finish a move that was cut off between the ref and its checkouts."""
        if self.tip() != new:
            return
        for place in self.checkouts():
            if place.is_at(old):
                place.follow(old, new)

    def checkouts(self) -> tuple[Checkout, ...]:
        """The working trees that have the branch checked out."""
        listed = self.git.run("worktree", "list", "--porcelain", "-z").out
        found = []
        for entry in listed.split(b"\0\0"):
            fields = entry.split(b"\0")
            if b"branch " + os.fsencode(self.ref) in fields:
                path = Path(os.fsdecode(fields[0].removeprefix(b"worktree ")))
                if path == self.common_dir:
                    path = self._work_tree()
                if path.is_dir():
                    found.append(at(path))
        return tuple(found)

    def _work_tree(self) -> Path:
        """A submodule's checkout is not around its git directory, which says where it is."""
        configured = self.git.run("config", "core.worktree", check=False).text
        return self.common_dir / (configured or "no working tree")

    def _swap(self, old: str, new: str) -> bool:
        """The branch points there, and then the ref that kept it meanwhile goes. Not both at once:
        that would lock `packed-refs`, and a git killed there is in the way of every deletion."""
        args = ("update-ref", "-m", "fleet: landed", self.ref, new, old)
        done = self.git.run(*args, check=False)
        if not done.ok:
            now_at = self.tip()
            if now_at == old:  # it has not raced: something is in the way
                raise GitError(f"{self.branch} cannot be moved: {complaint(args, done)}")
            if now_at != new:
                return False
            # A git that was killed has moved it, and could not say so.
        self.git.run("update-ref", "-d", INCOMING, new, check=False)
        return True

    def _go_back(self, old: str, new: str, followed: Sequence[Checkout]) -> Advance:
        args = ("update-ref", "-m", "fleet: taken back", self.ref, old, new)
        if not self.git.run(*args, check=False).ok:
            return Advance.MOVED  # somebody has built on it: it stays
        for place in followed:
            place.follow(new, old)
        return Advance.BLOCKED

    def _is_rebased(self) -> bool:
        """A rebase detaches HEAD, and moves the branch itself when it ends."""
        git_dirs = (self.common_dir, *self.common_dir.glob("worktrees/*"))
        names = (folder / kind / "head-name" for folder in git_dirs for kind in REBASES)
        return any(name.is_file() and name.read_text().strip() == self.ref for name in names)

    def _read(self, ref: str) -> str | None:
        args = ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        return self.git.run(*args, check=False).text or None
