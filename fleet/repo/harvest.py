"""Bringing an agent's work into the hub, without trusting its repository.

Its commits come in a bundle (`agentgit`, `bundle`); what it left uncommitted is committed with the
hub as git directory and an index of our own. So none of the agent's configuration, hooks, filters
or drivers is ever run by us, and no repository but its own is read.

Not promised: a file's own attributes (`.gitattributes`) count, as for anybody who commits it: they
can name only conversions that are built into git, since the hub defines no drivers. What the
agent's own `.gitignore` hides stays where it is, unless it is committed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.process.command import Done
from fleet.repo import agentgit, merge
from fleet.repo.bundle import carry, pack, salvaged
from fleet.repo.git import Git, GitError, complaint
from fleet.repo.hub import Hub
from fleet.repo.survey import Limits, judge, survey
from fleet.repo.weight import excess

GITLINK_MODE = 0o160000


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """What an agent made, as one commit in the hub."""

    head: str  # its commits with its uncommitted work on top; the base when it made nothing
    changed: bool
    problem: str = ""  # why its commits could not be taken; its files were all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a harvest comes from and goes to."""

    workspace: Path
    scratch: Path  # private, outside the workspace
    index: Path | None  # as it was after checkout: it saves hashing every unchanged file
    ref: str  # refs/fleet/attempts/<task>/<epoch>
    salvage_prefix: str  # refs/fleet/salvage/<task>/<epoch>/: its other branches
    litter: tuple[str, ...] = ()  # globs, from its top, of what stays where it is if uncommitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How the commit of what it left uncommitted is signed."""

    message: str
    name: str
    email: str
    at: int


def harvest(
    hub: Hub,
    where: Where,
    *,
    base: str,
    agent_env: Mapping[str, str],
    signature: Signature,
    limits: Limits,
) -> Harvest:
    """Commits first, then what is uncommitted on top of them; both under the hub's own refs."""
    if not where.workspace.is_dir() or where.workspace.is_symlink():
        return Harvest(head=base, changed=False, problem="its workspace is gone")
    parent, problem = _take_commits(hub, where, base, agent_env, limits)
    tree, unread = _uncommitted_tree(hub, where, parent, base, limits)
    problem = problem or unread
    head = parent
    if tree != hub.tree_of(parent):
        head = merge.commit(
            hub,
            tree,
            (parent,),
            signature.message,
            author_name=signature.name,
            author_email=signature.email,
            at=signature.at,
        )
    if head != base and not hub.set_ref(where.ref, head):
        raise GitError(f"{where.ref} of {hub.path} could not be set: the work stays in its folder")
    return Harvest(head=head, changed=tree != hub.tree_of(base), problem=problem)


def _take_commits(
    hub: Hub, where: Where, base: str, agent_env: Mapping[str, str], limits: Limits
) -> tuple[str, str]:
    """The agent's HEAD, in the hub by now, or the base; and what was wrong."""
    git_dir = where.workspace / ".git"
    try:
        found = agentgit.read(git_dir, borrows=hub.objects)
    except (agentgit.Unreadable, OSError) as error:
        return base, f"its commits could not be taken: {error}"
    problem = carry(
        hub,
        git_dir,
        pack(found, base=base, ref=where.ref, salvage_prefix=where.salvage_prefix),
        base=base,
        scratch=where.scratch,
        agent_env=agent_env,
        limits=limits,
    )
    head = found.head
    if problem or not head or head == base:
        return base, problem
    if not hub.is_ancestor(base, head):
        hub.set_ref(salvaged(where.salvage_prefix, "unrelated", head), head)
        return base, "its branch does not contain the commit it started from: history was rewritten"
    too_much = excess(hub, hub.tree_of(base), hub.tree_of(head))
    if too_much:
        hub.set_ref(salvaged(where.salvage_prefix, "excess", head), head)
        return base, too_much
    return head, ""


def _uncommitted_tree(
    hub: Hub, where: Where, parent: str, base: str, limits: Limits
) -> tuple[str, str]:
    """The workspace's files as a tree, by an index and a git directory of our own."""
    index = where.scratch / "index"
    lock = index.with_name("index.lock")
    lock.unlink(missing_ok=True)  # of a harvest that was killed
    git = Git(git_dir=hub.path, work_tree=where.workspace, index_file=index)
    if where.index is not None:
        shutil.copy2(where.index, index)  # with its time: git tells racy entries by it
    problem = ""
    if where.index is None or parent != base:
        args = ("read-tree", *(("-m",) if where.index else ()), parent)
        done = git.run(*args, check=False)
        problem = "" if done.ok else f"its tree cannot be checked out: {complaint(args, done)}"
    # In a submodule git would run `git status`, by the configuration the agent gave it: those
    # stay as they are in its commits, where policy sees them. New ones become gitlinks unopened.
    allowed = judge(git, survey(where.workspace), limits)
    if allowed.none:
        return git.run("write-tree").text, problem or allowed.problem
    kept = (*_gitlinks(git, index), *allowed.left_out)
    skipped = [f":(exclude,top,literal){path}" for path in kept]
    skipped += [f":(exclude,top,glob){litter}" for litter in where.litter]
    args = ("add", "--all", "--ignore-errors", "--", ".", *skipped)
    added = git.run(*args, check=False)
    if added.timed_out:
        lock.unlink(missing_ok=True)
    problem = problem or allowed.problem
    if not problem and not added.ok:
        problem = _unread(args, added)
    return git.run("write-tree").text, problem


def _gitlinks(git: Git, index: Path) -> list[str]:
    # Every entry of an index has its mode in four bytes: most indexes need no further look.
    if GITLINK_MODE.to_bytes(4, "big") not in index.read_bytes():
        return []
    entries = git.run("ls-files", "--stage", "-z").out.split(b"\0")
    mode = f"{GITLINK_MODE:o} ".encode()
    return [os.fsdecode(e.partition(b"\t")[2]) for e in entries if e.startswith(mode)]


def _unread(args: tuple[str, ...], done: Done) -> str:
    said = done.err.decode("utf-8", "replace").splitlines()
    first = next((line for line in said if line.startswith("error: ")), complaint(args, done))
    return f"not all its files could be read: {first.removeprefix('error: ')}"
