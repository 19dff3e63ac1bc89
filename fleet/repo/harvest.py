"""Bringing an agent's work into the hub, without trusting its repository.

Git's own boundary: no command should run in an untrusted `.git`. So the agent's commits are
bundled by a git that runs as the agent would, on its own rung and environment, and fleet reads
the bundle; what it left uncommitted is committed with the hub as git directory and an index of
our own, so that none of its configuration, hooks, filters or drivers is ever run by us. Fetching
its repository by path would follow its `objects/info/alternates` into other repositories.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.process.command import run
from fleet.repo import merge
from fleet.repo.git import Git
from fleet.repo.hub import Hub

BUNDLE_S = 120.0
HEADER_BYTES = 1_000_000
_REF = re.compile(rb"([0-9a-f]{40,64}) (HEAD|refs/[^\0\n]+)")


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
    max_bytes: int,
) -> Harvest:
    """Commits first, then what is uncommitted on top of them; both under the hub's own refs."""
    committed, problem = _take_commits(hub, where, base, agent_env, max_bytes)
    parent = committed or base
    tree = _uncommitted_tree(hub, where, parent if committed else None)
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
    hub.set_ref(where.ref, head)
    return Harvest(head=head, changed=tree != hub.tree_of(base), problem=problem)


def _take_commits(
    hub: Hub, where: Where, base: str, agent_env: Mapping[str, str], max_bytes: int
) -> tuple[str, str]:
    """The agent's HEAD in the hub, or ""; and what was wrong."""
    bundle = where.scratch / "work.bundle"
    bundle.unlink(missing_ok=True)
    # The only git that runs against the agent's configuration, with the agent's environment.
    run(
        ("git", "bundle", "create", "--quiet", str(bundle), "--all", "HEAD", "--not", base),
        cwd=where.workspace,
        env=agent_env,
        timeout_s=BUNDLE_S,
    )
    try:
        offered = _bundled_refs(bundle, max_bytes)
    except OSError:
        return "", ""  # no bundle: it made no commits
    except ValueError as error:
        return "", f"its commits could not be taken: {error}"
    specs = [f"+{ref}:{where.salvage_prefix}{_safe(ref)}" for ref in offered if ref != "HEAD"]
    head = offered.get("HEAD", "")
    if head:
        specs.append(f"+HEAD:{where.ref}")
    done = hub.git.run(
        "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", str(bundle),
        *specs, check=False,
    )  # fmt: skip
    if not done.ok:
        return "", f"its commits could not be taken: {done.complaint}"
    if head and not hub.is_ancestor(base, head):
        hub.set_ref(f"{where.salvage_prefix}unrelated", head)
        return "", "its branch does not contain the commit it started from: was history rewritten?"
    return head, ""


def _bundled_refs(bundle: Path, max_bytes: int) -> dict[str, str]:
    """The refs a bundle offers, read from its header by ourselves."""
    fd = os.open(bundle, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("the bundle is no regular file")
        if found.st_size > max_bytes:
            raise ValueError(f"they take {found.st_size / 1e6:.0f} MB")
        header = os.read(fd, HEADER_BYTES)
    finally:
        os.close(fd)
    end = header.find(b"\n\n")
    if not header.startswith(b"# v") or end < 0:
        raise ValueError("the bundle has no proper header")
    refs = {}
    for line in header[:end].split(b"\n"):
        match = _REF.fullmatch(line)
        if match is not None:
            refs[os.fsdecode(match[2])] = match[1].decode()
    return refs


def _safe(ref: str) -> str:
    """A ref of the agent's under our prefix: whatever its name, it stays there."""
    return re.sub(r"[^A-Za-z0-9._/-]|\.\.|//|/\.|\.lock", "-", ref.removeprefix("refs/"))


def _uncommitted_tree(hub: Hub, where: Where, head: str | None) -> str:
    """The workspace's files as a tree, by an index and a git directory of our own."""
    index = where.index or where.scratch / "index"
    git = Git(git_dir=hub.path, work_tree=where.workspace, index_file=index)
    if head is not None:
        git.run("read-tree", "-m", head)
    # Nested repositories become gitlinks, which policy refuses; unreadable files are left out.
    git.run("add", "--all", "--ignore-errors", "--", ".", check=False)
    return git.run("write-tree").text
