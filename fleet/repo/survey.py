"""What lies in a workspace, looked at before git is let near it. No link is followed.

Git opens every `.gitignore`, `.gitattributes` and nested `.git/HEAD`, and at a pipe it would wait
for ever: what is neither file, folder nor link is removed, since no commit can have it anyway. It
would also read and keep every file, however big: those are counted here, with git's own list of
what is ignored, before a byte of them is stored.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet.repo.git import Git

MAX_FILES = 100_000  # uncommitted ones
MAX_LEFT_OUT = 50  # named to git one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """In bytes, of what is taken from one attempt."""

    file: int
    total: int  # its commits packed, and its uncommitted files together


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What `git add` would meet, ignored or not."""

    files: int
    bytes: int
    largest: int
    problem: str  # why not all of it can be taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Which uncommitted files may be taken."""

    none: bool = False
    left_out: tuple[str, ...] = ()
    problem: str = ""


def survey(top: Path) -> Survey:
    """Walk a workspace whose agent has ended, and remove the pipes, sockets and devices in it."""
    files = total = largest = 0
    problem = ""
    pending = [str(top)]
    while pending:
        folder = pending.pop()
        try:
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    if folder != str(top) or entry.name != ".git":
                        pending.append(entry.path)
                    continue
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
                    files += 1
                    total += found.st_size
                    largest = max(largest, found.st_size)
                else:
                    _remove(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # others are for git to complain about
                name = os.path.relpath(folder, top)[:40]
                problem = f"it has folders too deep for git, beneath {name}..."
    return Survey(files=files, bytes=total, largest=largest, problem=problem)


def judge(git: Git, found: Survey, limits: Limits) -> Allowed:
    """What of it may be committed. Git is asked what is new and not ignored only when there is
    more than may be taken."""
    too_big = found.largest > limits.file
    if not too_big and found.files <= MAX_FILES and found.bytes <= limits.total:
        return Allowed(problem=found.problem)
    asked = ("ls-files", "-z", "--others", "--modified", "--exclude-standard")
    listed = git.run(*asked).out
    names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    assert git.work_tree is not None
    sizes = {name: _size(git.work_tree / name) for name in names}
    big = sorted(name for name, size in sizes.items() if size > limits.file)
    rest = sum(sizes.values()) - sum(sizes[name] for name in big)
    if len(names) > MAX_FILES or rest > limits.total or len(big) > MAX_LEFT_OUT:
        much = f"{len(names)} uncommitted files of {sum(sizes.values()) / 1e6:.0f} MB"
        most = f"{MAX_FILES} files, {limits.file / 1e6:.0f} MB each, {limits.total / 1e6:.0f} MB"
        return Allowed(none=True, problem=f"it left {much}; the most that is taken is {most}")
    if not big:
        return Allowed(problem=found.problem)
    limit = f"the limit is {limits.file / 1e6:.1f} MB (max_file_mb)"
    return Allowed(
        left_out=tuple(big), problem=f"{big[0]} has {sizes[big[0]] / 1e6:.1f} MB; {limit}"
    )


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _remove(path: str) -> None:
    try:
        Path(path).unlink()
    except PermissionError:  # its folder may not be written to
        Path(path).parent.chmod(0o700)
        Path(path).unlink()


def _size(path: Path) -> int:
    try:
        found = path.lstat()
    except OSError:
        return 0  # deleted
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
