"""One checkout of the user's branch: whether it can follow the branch, and following it.

Git runs here by the user's own settings, since line endings and filters such as LFS make the files
what they are; only hooks and fsmonitor stay off. A two-tree `read-tree` moves index and files, and
refuses as a whole if it would touch what the user has changed, or any file git does not track.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet.repo.git import Git, locate

REBASES = ("rebase-merge", "rebase-apply")
BUSY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "sequencer", *REBASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    path: Path
    git: Git

    def is_clean(self) -> bool:
        """No change to a tracked file, and no merge or rebase in progress."""
        if any((self.git.git_dir / name).exists() for name in BUSY):
            return False
        done = self.git.run(
            "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty",
            check=False,
        )  # fmt: skip
        return done.ok and not done.out

    def may_follow(self, old: str, new: str) -> bool:
        """Clean, and no untracked file in the way: a dry run of the move says so."""
        return self.is_clean() and self._read_tree("--dry-run", old, new)

    def follow(self, old: str, new: str) -> bool:
        return self._read_tree(old, new)

    def is_at(self, commit: str) -> bool:
        """Whether the index is still that of `commit`, wherever HEAD is by now."""
        return self.git.run("diff-index", "--cached", "--quiet", commit, check=False).ok

    def _read_tree(self, *args: str) -> bool:
        # It goes by the times of files, which may have changed when their content has not.
        self.git.run("update-index", "-q", "--refresh", check=False)
        return self.git.run("read-tree", "-m", "-u", *args, check=False).ok


def at(path: Path) -> Checkout:
    git = Git(git_dir=locate(path).git_dir, work_tree=path, as_user=True)
    return Checkout(path=path, git=git)
