"""What an agent's `.git` says, read as plain files: no git runs in it, none of its settings count.

DESIGN. Any git command in a repository an agent wrote can be made to run a program of its choice:
a missing object is enough, when its configuration names a promisor. So refs, HEAD and the reflog
are read here, by their documented formats, and its objects are packed by a git whose directory is
ours (`bundle.py`). That git would follow links and `objects/info/alternates` into other
repositories, so `read` refuses a store that has any but what `workspace.create` put there.

Not promised: anything while the agent still runs. It has been stopped, and its tree swept, before.
Only git's `files` ref format is known, which is what `workspace.create` makes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

MAX_REFS = 1000
MAX_FILE_BYTES = 4_000_000
PATH_BYTES = 4096
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PACKED = re.compile(r"([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/\S+)")
_LINKS = 5  # symbolic refs in a row, as in git


class Unreadable(Exception):
    """The repository is not what we made; the message says how, for the person or the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The commits an agent's repository names."""

    head: str  # "" when HEAD names none
    others: Mapping[str, str]  # refs and the HEADs of worktrees
    past: frozenset[str]  # where HEAD has been: what was amended or reset away is only here


def read(git_dir: Path, *, borrows: Path) -> Found:
    """What is in `git_dir`, whose objects may borrow from the folder `borrows` and no other."""
    if not _is_folder(git_dir):
        raise Unreadable(".git is no longer the folder it was made as")
    _refuse_foreign_objects(git_dir / "objects", borrows)
    refs = dict(_packed(git_dir)) | dict(_loose(git_dir))
    if len(refs) > MAX_REFS:
        raise Unreadable(f"it has {len(refs)} refs; the most that is taken is {MAX_REFS}")
    commits = {name: value for name, value in refs.items() if _SHA.fullmatch(value)}
    head = _resolve(_text(git_dir / "HEAD"), refs)
    worktrees = {name: sha for name, sha in _worktrees(git_dir, refs) if sha}
    return Found(head=head, others=commits | worktrees, past=frozenset(_past(git_dir)))


def _refuse_foreign_objects(store: Path, borrows: Path) -> None:
    """A link, or another repository's store: by either, objects the agent could not read itself
    would be packed on its behalf."""
    if not _is_folder(store):
        raise Unreadable(".git/objects is not a folder")
    with os.scandir(store) as folders:
        for folder in folders:
            if not folder.is_dir(follow_symlinks=False):
                raise Unreadable(f".git/objects/{folder.name} is not a folder")
            _refuse_odd_files(folder)
    _refuse_other_alternates(store / "info" / "alternates", borrows)


def _refuse_odd_files(folder: os.DirEntry[str]) -> None:
    with os.scandir(folder.path) as entries:
        for entry in entries:
            nested = folder.name == "info" and entry.is_dir(follow_symlinks=False)
            if not entry.is_file(follow_symlinks=False) and not nested:
                raise Unreadable(f".git/objects/{folder.name}/{entry.name} is not a file")


def _refuse_other_alternates(file: Path, borrows: Path) -> None:
    """All of it is looked at: git would read on where we had stopped."""
    if not os.path.lexists(file):
        return
    found = file.lstat()
    plain = stat.S_ISREG(found.st_mode) and found.st_size <= PATH_BYTES
    if not plain or _bytes(file).strip() not in (b"", os.fsencode(borrows)):
        raise Unreadable(".git/objects/info/alternates names another repository")


def _loose(git_dir: Path) -> Iterator[tuple[str, str]]:
    top = git_dir / "refs"
    if not _is_folder(top):
        return
    seen = 0
    for folder, _, files in os.walk(top):
        seen += 1 + len(files)
        if seen > 2 * MAX_REFS:
            raise Unreadable(f"its refs are more than {MAX_REFS} files and folders")
        for file in files:
            path = Path(folder, file)
            yield str(path.relative_to(git_dir)), _text(path).strip()


def _packed(git_dir: Path) -> Iterator[tuple[str, str]]:
    for line in _text(git_dir / "packed-refs").splitlines():
        match = _PACKED.fullmatch(line)
        if match is not None:
            yield match[2], match[1]


def _worktrees(git_dir: Path, refs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The agent may have made worktrees of its own, with commits on no branch."""
    top = git_dir / "worktrees"
    if not _is_folder(top):
        return
    with os.scandir(top) as entries:
        for entry in islice(entries, MAX_REFS):
            if entry.is_dir(follow_symlinks=False):
                yield f"worktrees/{entry.name}", _resolve(_text(Path(entry.path, "HEAD")), refs)


def _past(git_dir: Path) -> Iterator[str]:
    if not _is_folder(git_dir / "logs"):
        return
    for line in _text(git_dir / "logs" / "HEAD").splitlines():
        for word in line.split(" ", 2)[:2]:
            if _SHA.fullmatch(word) and word.strip("0"):
                yield word


def _resolve(value: str, refs: Mapping[str, str]) -> str:
    value = value.strip()
    for _ in range(_LINKS):
        if not value.startswith("ref:"):
            break
        value = refs.get(value.removeprefix("ref:").strip(), "")
    return value if _SHA.fullmatch(value) else ""


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _text(path: Path) -> str:
    return os.fsdecode(_bytes(path))


def _bytes(path: Path) -> bytes:
    """The end of a regular file; nothing for anything else. A plain `open` of a pipe would wait."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return b""
        # The end of a reflog is the news; refs are 41 bytes long.
        file.seek(max(0, found.st_size - MAX_FILE_BYTES))
        return file.read(MAX_FILE_BYTES)
