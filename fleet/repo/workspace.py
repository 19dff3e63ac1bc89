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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet.core.errors import FleetError
from fleet.repo.git import Git
from fleet.repo.hub import Hub


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
    git = Git(git_dir=at / ".git", work_tree=at)
    at.mkdir(mode=0o700, parents=True)
    Git(git_dir=at / ".git").run("init", "--quiet", "--template=", f"--initial-branch={branch}")
    (at / ".git" / "objects" / "info").mkdir(exist_ok=True)
    (at / ".git" / "objects" / "info" / "alternates").write_bytes(os.fsencode(hub.objects) + b"\n")
    with (at / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(f"[user]\n\tname = {author_name}\n\temail = {author_email}\n")
        config.write("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n")
    (at / ".git" / "info").mkdir(exist_ok=True)
    shutil.copyfile(hub.path / "info" / "exclude", at / ".git" / "info" / "exclude")
    git.run("update-ref", f"refs/heads/{branch}", base)
    git.run("read-tree", "-m", "-u", "HEAD")
    shutil.copyfile(at / ".git" / "index", index_copy)


def include_ignored(source_top: Path, into: Path) -> int:
    """Copy the files that `.worktreeinclude` names and git ignores; how many there were.

    Regular files only, never through a link, never over a file that is there.
    """
    if not (source_top / ".worktreeinclude").is_file():
        return 0
    git = Git(git_dir=_git_dir(source_top), work_tree=source_top)
    others = ("ls-files", "-z", "--others", "--ignored")
    ignored = set(git.run(*others, "--exclude-standard").out.split(b"\0"))
    named = set(git.run(*others, "--exclude-from=.worktreeinclude").out.split(b"\0"))
    copied = 0
    for name in sorted((ignored & named) - {b""}):
        source, target = source_top / os.fsdecode(name), into / os.fsdecode(name)
        if not stat.S_ISREG(source.lstat().st_mode) or os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
        copied += 1
    return copied


def remove(at: Path, *, beneath: Path) -> None:
    """Remove a tree of ours, whatever an agent did to its permissions. Never follows a link."""
    if at.parent.resolve() != beneath.resolve() or at.is_symlink():
        raise FleetError(f"{at} is not one of the workspaces in {beneath}: not removed")
    shutil.rmtree(at, onerror=_make_writable)


def _make_writable(function: Callable[..., Any], path: str, _error: object) -> None:
    """Try again after giving ourselves the right to; what still fails stays."""
    try:
        Path(path).parent.chmod(0o700)
        if not Path(path).is_symlink():
            Path(path).chmod(0o700)
        function(path)
    except OSError:
        return


def _git_dir(top: Path) -> Path:
    """The git directory of a checkout: `.git`, or where a linked worktree's `.git` file points."""
    place = top / ".git"
    if place.is_file():
        return Path(place.read_text("utf-8").removeprefix("gitdir:").strip())
    return place
