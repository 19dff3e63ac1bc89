"""The user's branch: where it is, and moving it by compare-and-swap.

Never `--force`, never `reset --hard`. What could get in the way is asked before anything moves;
then the ref moves, atomically and only from where it was expected; then each checkout of it
(`checkout.py`) follows. If one cannot after all, because the user was at work in those
milliseconds, everything goes back to where it was.

A lock that a git of the user's holds, or left when it was killed, is waited for a moment and never
removed: the move is blocked, and `in_the_way` names the file. Only what is beneath `OURS` is ours.

Not promised: a git killed half-way through writing a checkout's files leaves its `index.lock` and
some new files there. Nothing of ours deletes either; the branch is right, and `git status` tells.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.process.command import Done
from fleet.repo import locks
from fleet.repo.checkout import REBASES, Checkout, at
from fleet.repo.git import Git, GitError, complaint
from fleet.repo.hub import Hub

LANDED = "refs/heads/fleet/landed"
INCOMING = "refs/fleet/incoming"  # keeps what was sent until the branch points there
OURS = ("refs/fleet", "refs/heads/fleet")
LOCK_S, LOCK_POLL_S = 1.0, 0.05
SEND_TRIES = 10


class Advance(StrEnum):
    MOVED = "moved"
    RACED = "raced"  # somebody else moved it
    BLOCKED = "blocked"  # a checkout has changes of its own, or there are files or locks in the way


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
        done = self._write(*args)
        now_at = None if done.ok else self.landed()
        if not done.ok and now_at == old:
            if locks.in_the_way(done) is not None:
                raise GitError(complaint(args, done))
            raise GitError(
                f"{complaint(args, done)}: results wait on the branch fleet/landed, so there can "
                "be no branch of yours called fleet, or of that name"
            )
        return done.ok or now_at == new

    def restore_landed(self, hub: Hub, commit: str, old: str | None) -> None:
        """Point fleet/landed there although git may no longer be able to read it."""
        if old is None:
            (self.common_dir / LANDED).unlink(
                missing_ok=True
            )  # nor does it fetch beside such a ref
        self.send(hub, commit)
        self.set_landed(commit, old)

    def drop_landed(self, old: str) -> bool:
        return self._write("update-ref", "-d", LANDED, old).ok

    def send(self, hub: Hub, commit: str) -> None:
        """Give the user's repository the objects; no branch moves yet."""
        # As a pack, which git protects with a `.keep` until the ref is there: loose objects would
        # be gone by then if the user's gc prunes just now. Prune also removes the file a pack is
        # being written to, and then there is nothing for it but to send it again.
        args = (
            "-c", "fetch.unpackLimit=1",
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-prune",
            "--no-recurse-submodules", "--update-shallow", str(hub.path), f"+{commit}:{INCOMING}",
        )  # fmt: skip
        for number in range(1, SEND_TRIES + 1):
            done = self._write(*args)
            if done.ok:
                return
            threading.Event().wait(LOCK_POLL_S * number)
        raise GitError(complaint(args, done))

    def advance(self, old: str, new: str) -> Advance:
        """Move the branch, and every checkout of it, from `old` to `new`."""
        if self.tip() != old:
            return Advance.RACED  # and its checkouts are elsewhere, which is no change of theirs
        checkouts = self.checkouts()
        if self._held_up_by(checkouts):
            return Advance.BLOCKED
        if self._is_rebased() or not all(place.may_follow(old, new) for place in checkouts):
            return Advance.BLOCKED
        swapped = self._swap(old, new)
        if swapped is not Advance.MOVED:
            return swapped
        for number, place in enumerate(checkouts):
            if not place.follow(old, new):
                return self._go_back(old, new, checkouts[:number])
        return Advance.MOVED

    def repair(self, old: str, new: str) -> bool:
        """Finish a move that was cut off between the ref and its checkouts. False while the lock
        of a killed git is in the way of that."""
        if self.tip() != new:
            return True
        behind = [place for place in self.checkouts() if place.is_at(old)]
        left = [place for place in behind if not place.follow(old, new)]
        return not any(place.index_lock.exists() for place in left)

    def in_the_way(self) -> str:
        """What to do about the lock of a git that is at work in the user's repository, or was
        killed there; "" when there is none."""
        found = next((path for path in self._locks(self.checkouts()) if path.exists()), None)
        if found is None:
            return ""
        return f"{found} is in the way: if no git is at work there, remove that file"

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

    def _swap(self, old: str, new: str) -> Advance:
        """The branch points there, and then the ref that kept it meanwhile goes. Not both at once:
        that would lock `packed-refs`, and a git killed there is in the way of every deletion."""
        args = ("update-ref", "-m", "fleet: landed", self.ref, new, old)
        done = self._write(*args)
        if not done.ok:
            now_at = self.tip()
            if now_at == old:
                if locks.in_the_way(done) is not None:
                    return Advance.BLOCKED
                raise GitError(f"{self.branch} cannot be moved: {complaint(args, done)}")
            if now_at != new:
                return Advance.RACED
            # A git that was killed has moved it, and could not say so.
        self._write("update-ref", "-d", INCOMING, new)
        return Advance.MOVED

    def _go_back(self, old: str, new: str, followed: Sequence[Checkout]) -> Advance:
        args = ("update-ref", "-m", "fleet: taken back", self.ref, old, new)
        if not self._write(*args).ok:
            return Advance.MOVED  # somebody has built on it: it stays
        for place in followed:
            place.follow(new, old)
        return Advance.BLOCKED

    def _is_rebased(self) -> bool:
        """A rebase detaches HEAD, and moves the branch itself when it ends."""
        git_dirs = (self.common_dir, *self.common_dir.glob("worktrees/*"))
        names = (folder / kind / "head-name" for folder in git_dirs for kind in REBASES)
        return any(name.is_file() and name.read_text().strip() == self.ref for name in names)

    def _write(self, *args: str, stdin: bytes = b"") -> Done:
        """A command that writes refs. A lock that a killed process of ours has left is removed."""
        writer = Git(git_dir=self.common_dir, writes_refs=True)
        done = writer.run(*args, stdin=stdin, check=False)
        lock = locks.in_the_way(done)
        if lock is not None and any(self.common_dir / place in lock.parents for place in OURS):
            locks.clear(self.common_dir, OURS)
            done = writer.run(*args, stdin=stdin, check=False)
        return done

    def _held_up_by(self, checkouts: Sequence[Checkout]) -> bool:
        """Whether a lock is there that stays: a git at work holds one for milliseconds."""
        until, pause = time.monotonic() + LOCK_S, threading.Event()
        while any(path.exists() for path in self._locks(checkouts)):
            if time.monotonic() > until:
                return True
            pause.wait(LOCK_POLL_S)
        return False

    def _locks(self, checkouts: Sequence[Checkout]) -> Iterator[Path]:
        """What a move needs for itself, of what the user's own git takes too."""
        for name in (f"{self.ref}.lock", "HEAD.lock", "packed-refs.lock", "packed-refs.new"):
            yield self.common_dir / name
        for place in checkouts:
            yield place.index_lock
            yield place.index_lock.with_name("HEAD.lock")

    def _read(self, ref: str) -> str | None:
        args = ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        return self.git.run(*args, check=False).text or None
