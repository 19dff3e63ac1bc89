"""Merges, trees and commits made in the hub: no working tree, nobody's merge drivers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fleet.repo.git import Git, GitError, complaint
from fleet.repo.hub import Hub

CONFLICT = 1  # merge-tree's exit code; others are failures


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    tree: str
    conflicts: tuple[str, ...] = ()  # paths; () is a clean merge


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One path that differs between two trees."""

    path: str
    status: str  # A, M, D or T (its type changed)
    mode: str  # "" when deleted
    size: int = 0  # of the new blob, in bytes


def merge(hub: Hub, ours: str, theirs: str) -> Merged:
    """Merge two commits into a tree; about 3 ms for a small repository."""
    done = hub.git.run(
        "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs,
        check=False,
    )  # fmt: skip
    # It ends in 1 for a commit that is not there too, but then it names no tree.
    if done.code not in (0, CONFLICT) or not done.out:
        raise GitError(complaint(("merge-tree",), done))
    tree, *paths = done.out.rstrip(b"\0").split(b"\0")
    conflicts = tuple(dict.fromkeys(os.fsdecode(path) for path in paths if path))
    if done.code == CONFLICT and not conflicts:
        conflicts = ("(see git merge-tree)",)
    return Merged(tree=tree.decode().strip(), conflicts=conflicts if done.code else ())


def commit(
    hub: Hub,
    tree: str,
    parents: Sequence[str],
    message: str,
    *,
    author_name: str,
    author_email: str,
    at: int,
) -> str:
    """A commit that depends on its arguments alone: made twice, it is the same commit."""
    date = f"@{at} +0000"  # with @, every number is a time
    words = [word for parent in parents for word in ("-p", parent)]
    signed = {
        "GIT_AUTHOR_NAME": author_name,
        "GIT_AUTHOR_EMAIL": author_email,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    stdin = message.replace("\0", "").encode("utf-8", "replace")
    return hub.git.run("commit-tree", tree, *words, stdin=stdin, env=signed).text


def changes(hub: Hub, old_tree: str, new_tree: str) -> tuple[Change, ...]:
    """Every path that differs, with the sizes of what is new."""
    done = hub.git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", old_tree, new_tree)
    fields = iter(done.out.split(b"\0"))
    found = []
    for head in fields:
        if not head:
            continue
        _, mode, _, blob, status = head.decode().split(" ")
        found.append((os.fsdecode(next(fields)), status[0], mode, blob))
    sizes = _sizes(hub, [blob for _, status, mode, blob in found if status != "D"])
    return tuple(
        Change(
            path=path,
            status=status,
            mode="" if status == "D" else mode,
            size=sizes.get(blob, 0),
        )
        for path, status, mode, blob in found
    )


def overlay(hub: Hub, tree: str, from_tree: str, paths: Sequence[str]) -> str:
    """`tree` with the given paths as they are in `from_tree`; absent there means removed."""
    if not paths or tree == from_tree:
        return tree
    entries = _entries(hub, from_tree, paths)
    none = b"0 " + b"0" * len(tree) + b"\t"
    # Removals first: a path may be a folder in one tree and a file in the other.
    removed = (none + os.fsencode(path) for path in paths if path not in entries)
    index = hub.path / f".index-{secrets.token_hex(6)}"
    git = Git(git_dir=hub.path, index_file=index)
    try:
        git.run("read-tree", tree)
        lines = b"\0".join((*removed, *entries.values(), b""))
        git.run("update-index", "-z", "--index-info", stdin=lines)
        return git.run("write-tree").text
    finally:
        index.unlink(missing_ok=True)


def _entries(hub: Hub, tree: str, paths: Sequence[str]) -> dict[str, bytes]:
    """Those of the paths that a tree has, as `update-index --index-info` takes them."""
    listed = hub.git.run("ls-tree", "-r", "-z", "--full-tree", tree).out.split(b"\0")
    named = {os.fsdecode(line.partition(b"\t")[2]): line for line in listed if line}
    return {path: named[path] for path in paths if path in named}


def _sizes(hub: Hub, blobs: Sequence[str]) -> dict[str, int]:
    if not blobs:
        return {}
    asked = "".join(f"{blob}\n" for blob in dict.fromkeys(blobs)).encode()
    lines = hub.git.run("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked).text
    pairs = (line.split(" ") for line in lines.splitlines())
    return {name: int(size) for name, size in pairs if size.isdigit()}
