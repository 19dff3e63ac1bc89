"""The user's branch: where it is, and moving it by compare-and-swap.

Never `--force`, never `reset --hard`. The ref moves first, atomically and only from where it was
expected; then each checkout of it follows with a two-tree `read-tree`, which refuses to touch what
the user has changed. What could get in its way is asked before anything moves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.process.command import run
from fleet.repo.git import Git, environment
from fleet.repo.hub import Hub

LANDED = "refs/heads/fleet/landed"
INCOMING = "refs/fleet/incoming"  # keeps what was sent until the branch points there
BUSY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")


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

    def set_landed(self, new: str, old: str | None) -> bool:
        return self.git.run("update-ref", LANDED, new, old or "0" * 40, check=False).ok

    def drop_landed(self, old: str) -> bool:
        return self.git.run("update-ref", "-d", LANDED, old, check=False).ok

    def send(self, hub: Hub, commit: str) -> None:
        """Give the user's repository the objects; no branch moves yet."""
        self.git.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc",
            "--update-shallow", str(hub.path), f"+{commit}:{INCOMING}",
        )  # fmt: skip

    def advance(self, old: str, new: str) -> Advance:
        """Move the branch, and every checkout of it, from `old` to `new`."""
        checkouts = self.checkouts()
        for checkout in checkouts:
            if not self._may_follow(checkout, old, new):
                return Advance.BLOCKED
        if not self.git.run("update-ref", self.ref, new, old, check=False).ok:
            return Advance.RACED
        for checkout in checkouts:
            self._follow(checkout, old, new)
        return Advance.MOVED

    def repair(self, old: str, new: str) -> None:
        """Finish a move that was cut off between the ref and its checkouts."""
        if self.tip() != new:
            return
        for checkout in self.checkouts():
            git = self._checkout_git(checkout)
            index_is_old = git.run("diff-index", "--cached", "--quiet", old, check=False).ok
            files_are_old = git.run("diff-files", "--quiet", check=False).ok
            if index_is_old and files_are_old:
                self._follow(checkout, old, new)

    def checkouts(self) -> tuple[Path, ...]:
        """The working trees that have the branch checked out."""
        listed = self.git.run("worktree", "list", "--porcelain", "-z").out
        found = []
        for entry in listed.split(b"\0\0"):
            fields = entry.split(b"\0")
            if b"branch " + self.ref.encode() in fields and b"bare" not in fields:
                path = Path(os.fsdecode(fields[0].removeprefix(b"worktree ")))
                if path.is_dir():
                    found.append(path)
        return tuple(found)

    def is_clean(self, checkout: Path) -> bool:
        """No change to a tracked file, and no merge or rebase in progress."""
        git = self._checkout_git(checkout)
        if any((git.git_dir / name).exists() for name in BUSY):
            return False
        done = git.run("status", "--porcelain", "-z", "--untracked-files=no", check=False)
        return done.ok and not done.out

    def _may_follow(self, checkout: Path, old: str, new: str) -> bool:
        """Clean, and no untracked file in the way: a dry run of the move says so."""
        git = self._checkout_git(checkout)
        git.run("update-index", "-q", "--refresh", check=False)
        dry_run = git.run("read-tree", "-m", "-u", "--dry-run", old, new, check=False)
        return dry_run.ok and self.is_clean(checkout)

    def _follow(self, checkout: Path, old: str, new: str) -> None:
        git = self._checkout_git(checkout)
        git.run("update-index", "-q", "--refresh", check=False)
        git.run("read-tree", "-m", "-u", old, new)

    def _checkout_git(self, checkout: Path) -> Git:
        done = run(
            ("git", "rev-parse", "--path-format=absolute", "--git-dir"),
            cwd=checkout,
            env=environment(),
        )
        return Git(git_dir=Path(done.text), work_tree=checkout)

    def _read(self, ref: str) -> str | None:
        return self.git.run("rev-parse", "--verify", "--quiet", ref, check=False).text or None
