"""The hub's refs, set again by what the ledger knows of them: its objects are never pruned."""

from __future__ import annotations

import logging
import re

from fleet.repo.git import GitError
from fleet.repo.hub import Hub
from fleet.store.database import Database
from fleet.store.files import write_private

ATTEMPTS = "refs/fleet/attempts/"
_PACKED = re.compile(rb"(#.*|\^?[0-9a-f]{40}(?:[0-9a-f]{24})?(?: refs/[!-~]+)?)\n")

log = logging.getLogger(__name__)


def mend_hub(hub: Hub, db: Database) -> None:
    """Every attempt whose work the ledger names has its ref, as was promised."""
    try:
        refs = hub.refs(ATTEMPTS)
    except GitError:
        _mend_packed(hub)
        refs = hub.refs(ATTEMPTS)
    kept = set(refs.values())
    named = db.rows("SELECT task || '/' || epoch, head FROM attempts WHERE head != ''")
    lost = [(ATTEMPTS + str(name), str(head)) for name, head in named if head not in kept]
    restored = [ref for ref, head in lost if hub.restore_ref(ref, head)]
    if restored:
        log.warning("refs of the hub were lost and are set again: %s", ", ".join(restored[:5]))


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
