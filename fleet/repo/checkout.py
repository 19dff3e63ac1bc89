"""One checkout of the user's branch: whether it can follow the branch, and following it.

Git runs here by the user's own settings, since line endings and filters such as LFS make the files
what they are; only hooks and fsmonitor stay off. A two-tree `read-tree` moves index and files, and
refuses as a whole if it would touch what the user has changed. It takes ignored files for
expendable, and writes over a `.env`: those are looked for first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet.repo.git import Git, locate

REBASES = ("rebase-merge", "rebase-apply")
OURS = ("tasks", "tasks.toml", "fleet.toml", "agents")  # what a person writes for fleet
BUSY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "sequencer", *REBASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    path: Path
    git: Git

    @property
    def index_lock(self) -> Path:
        return self.git.git_dir / "index.lock"

    def is_clean(self) -> bool:
        """No change to a tracked file but fleet's own, and no merge or rebase in progress.

        `fleet task add` writes to tracked files, and that must not keep results from landing: what
        lands never changes those, and `read-tree` would refuse if it did.
        """
        if any((self.git.git_dir / name).exists() for name in BUSY):
            return False
        done = self.git.run(
            "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty",
            "--", ".", *(f":(exclude,top){name}" for name in OURS), check=False,
        )  # fmt: skip
        return done.ok and not done.out

    def may_follow(self, old: str, new: str) -> bool:
        """Clean, and no untracked file in the way."""
        return (
            self.is_clean()
            and not self._has_ignored_in_the_way(old, new)
            and self._read_tree("--dry-run", old, new)
        )

    def follow(self, old: str, new: str) -> bool:
        return self._read_tree(old, new)

    def is_at(self, commit: str) -> bool:
        """Whether the index is still that of `commit`, wherever HEAD is by now."""
        return self.git.run("diff-index", "--cached", "--quiet", commit, check=False).ok

    def _has_ignored_in_the_way(self, old: str, new: str) -> bool:
        listed = self.git.run("diff-tree", "-r", "-z", "--name-status", "--no-renames", old, new)
        fields = [os.fsdecode(field) for field in listed.out.split(b"\0")]
        kinds = dict(zip(fields[1::2], fields[::2], strict=False))
        goes = {path for path, kind in kinds.items() if kind == "D"}
        return any(
            found not in goes
            for path, kind in kinds.items()
            if kind == "A"
            for found in _files_at(self.path, path)
        )

    def _read_tree(self, *args: str) -> bool:
        # It goes by the times of files, which may have changed when their content has not.
        self.git.run("update-index", "-q", "--refresh", check=False)
        return self.git.run("read-tree", "-m", "-u", *args, check=False).ok


def _files_at(top: Path, path: str) -> Iterator[str]:
    """What has to go for a file to be at `path`: one that is there, or one above, or a folder's."""
    for place in (top / path, *(top / path).parents):
        if place == top:
            break
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            yield str(place.relative_to(top))
    for folder, _, files in os.walk(top / path):
        yield from (str(Path(folder, file).relative_to(top)) for file in files)


def at(path: Path) -> Checkout:
    git = Git(git_dir=locate(path).git_dir, work_tree=path, as_user=True)
    return Checkout(path=path, git=git)
