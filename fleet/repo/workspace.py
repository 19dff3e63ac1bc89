"""The private clone an agent works in, outside the user's repository.

Not `git clone`, which makes the hub tell of all its refs, and not `git worktree`, whose shared
administration fails a tenth of the time when several are added at once: an empty repository that
borrows the hub's objects, one branch, no remote. Names are never reused, so the debris of a
killed attempt is never in the way.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.repo.git import Git, locate
from fleet.repo.hub import Hub
from fleet.repo.raze import raze

REMOVE_TRIES = 3
SHA256_DIGITS = 64


def create(
    hub: Hub,
    at: Path,
    *,
    base: str,
    branch: str,
    author_name: str,
    author_email: str,
    index_copy: Path,
) -> None:
    """A clone at `base` on `branch`; its fresh index is copied to `index_copy` for the harvest."""
    git_dir = at / ".git"
    git = Git(git_dir=git_dir, work_tree=at)
    at.mkdir(mode=0o700, parents=True)
    form = "sha256" if len(base) == SHA256_DIGITS else "sha1"
    Git(git_dir=git_dir).run(
        "init", "--quiet", "--template=", f"--initial-branch={branch}", f"--object-format={form}"
    )
    (git_dir / "objects" / "info").mkdir(exist_ok=True)
    (git_dir / "objects" / "info" / "alternates").write_bytes(os.fsencode(hub.objects) + b"\n")
    hub.copy_shallow(git_dir)
    with (git_dir / "config").open("a", encoding="utf-8") as config:
        config.write(f"[user]\n\tname = {author_name}\n\temail = {author_email}\n")
        config.write("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n")
    (git_dir / "info").mkdir(exist_ok=True)
    shutil.copyfile(hub.path / "info" / "exclude", git_dir / "info" / "exclude")
    git.run("update-ref", f"refs/heads/{branch}", base)
    git.run("read-tree", "-m", "-u", "HEAD")
    # With its time: by it git knows which files may have changed within one tick of the clock.
    shutil.copy2(git_dir / "index", index_copy)


def include_ignored(source_top: Path, into: Path) -> int:
    """Copy the files that `.worktreeinclude` names and git ignores; how many there were.

    Regular files only, never through a link, never over a file that is there.
    """
    if not (source_top / ".worktreeinclude").is_file():
        return 0
    git = Git(git_dir=locate(source_top).git_dir, work_tree=source_top, as_user=True)
    named = git.run("ls-files", "-z", "-o", "-i", "--exclude-from=.worktreeinclude").out
    if not named:
        return 0
    ignored = git.run("check-ignore", "-z", "--stdin", stdin=named, check=False).out
    names = (os.fsdecode(name) for name in ignored.split(b"\0") if name)
    return sum(_copy_new(source_top / name, into, name) for name in names)


def _copy_new(source: Path, into: Path, name: str) -> bool:
    target = into / name
    if not stat.S_ISREG(source.lstat().st_mode) or os.path.lexists(target):
        return False
    real = into.resolve()
    if target.parent.resolve() != real / Path(name).parent:
        return False  # a link of the repository's leads somewhere else
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
    return True


def remove(at: Path, *, beneath: Path) -> None:
    """Remove a tree of ours, whatever an agent did to its permissions. Never follows a link."""
    if at.is_symlink() or at.resolve().parent != beneath.resolve():
        raise FleetError(f"{at} is not one of the workspaces in {beneath}: not removed")
    for _ in range(REMOVE_TRIES):  # something may still be writing: what stays is swept later
        if raze(at):
            return
