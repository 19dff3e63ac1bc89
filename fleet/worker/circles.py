"""Whether an agent gets anywhere: what it changes in its workspace, against its model's answers.

The proxy counts the answers and knows nothing of files; here the two come together.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from fleet.core.attempt import Claim
from fleet.core.halt import Halt, HaltKind
from fleet.store import halts
from fleet.wiring import Fleet

FILES_LOOKED_AT = 20_000  # when asking whether an agent has changed anything
LOOK_S = 2.0


class Watch:
    """Whether files in the workspace have changed since it was last asked."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._newest = time.time_ns()

    def moved(self) -> bool:
        newest = 0
        looked = 0
        for folder, _, names in os.walk(self._work):
            for name in (".", *names):
                try:
                    newest = max(newest, os.lstat(Path(folder, name)).st_mtime_ns)
                except OSError:
                    continue  # it may be gone by now
                looked += 1
            if looked > FILES_LOOKED_AT:
                break
        moved = newest > self._newest
        self._newest = max(newest, self._newest)
        return moved


class Circles:
    """`loops.turns_without_change`: that many answers, and not one file has changed."""

    def __init__(self, fleet: Fleet, claim: Claim, watch: Watch) -> None:
        self._db = fleet.db
        self._claim = claim
        self._watch = watch
        self._allowed = fleet.config.loops.turns_without_change
        self._looked_at = 0.0
        self._changed_at = 0  # turns

    def look(self, now: float) -> str | None:
        """Why the attempt must end, which is also written down; None while it may go on. The
        files are looked at only when it might have to."""
        if not self._allowed or now - self._looked_at < LOOK_S:
            return None
        self._looked_at = now
        turns = halts.turns(self._db, self._claim)
        if turns - self._changed_at < self._allowed:
            return None
        if self._watch.moved():
            self._changed_at = turns
            return None
        why = f"stopped: no file has changed in {turns - self._changed_at} turns of its model"
        halt = Halt(kind=HaltKind.STUCK, reason=why)
        halts.order(self._db, self._claim.task.id, self._claim.epoch, halt)
        return why
