"""The hub's refs, set again by what the ledger knows of them: its objects are never pruned."""

from __future__ import annotations

import logging
import re

from fleet.repo.git import Git, GitError
from fleet.repo.hub import Hub
from fleet.store.database import Database
from fleet.store.files import write_private

ATTEMPTS = "refs/fleet/attempts/"
_HEAD = re.compile(rb"ref: refs/[!-~]+\n?|[0-9a-f]{40,64}\n?")
_PACKED = re.compile(rb"(#.*|\^?[0-9a-f]{40}(?:[0-9a-f]{24})?(?: refs/[!-~]+)?)\n")

log = logging.getLogger(__name__)


def mend_hub(hub: Hub, db: Database, users: Git) -> None:
    """Every attempt whose work the ledger names has its ref, as was promised."""
    try:
        refs = hub.refs(ATTEMPTS)
    except GitError as error:
        log.warning("the hub was damaged (%s), and is mended", error)
        _mend_head(hub)
        _mend_config(hub, users)
        _mend_packed(hub)
        refs = hub.refs(ATTEMPTS)
    kept = set(refs.values())
    named = db.rows("SELECT task || '/' || epoch, head FROM attempts WHERE head != ''")
    lost = [(ATTEMPTS + str(name), str(head)) for name, head in named if head not in kept]
    restored = [ref for ref, head in lost if hub.restore_ref(ref, head)]
    if restored:
        log.warning("refs of the hub were lost and are set again: %s", ", ".join(restored[:5]))


def _mend_head(hub: Hub) -> None:
    """It means nothing to us, and git knows no repository without one."""
    path = hub.path / "HEAD"
    if not path.is_file() or not _HEAD.fullmatch(path.read_bytes()):
        write_private(path, b"ref: refs/heads/main\n")


def _mend_config(hub: Hub, users: Git) -> None:
    """Nothing is set there that we do not also say with each command, but for what it is."""
    form = users.run("rev-parse", "--show-object-format").text
    version = 0 if form == "sha1" else 1
    lines = ["[core]", f"repositoryformatversion = {version}", "bare = true", "filemode = true"]
    lines += ["[extensions]", f"objectformat = {form}"] if version else []
    lines += ["[gc]", "auto = 0", "pruneExpire = never", ""]
    write_private(hub.path / "config", "\n".join(lines).encode())


def _mend_packed(hub: Hub) -> None:
    """Leave out the lines that are none: one of them keeps git from reading all others."""
    path = hub.path / "packed-refs"
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError:
        return
    whole = [line for line in lines if _PACKED.fullmatch(line)]
    if whole != lines:
        write_private(path, b"".join(whole))
        log.warning(
            "packed-refs of the hub was damaged: %d lines left out", len(lines) - len(whole)
        )
