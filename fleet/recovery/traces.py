"""Reading what a fleet has left in git and in its folders, for a ledger that does not know it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.core.attempt import parse_key
from fleet.core.task import TASK_ID, TaskId
from fleet.core.truth import AttemptId, Truth
from fleet.repo import history
from fleet.repo.branch import Target
from fleet.repo.hub import OBJECT_ID, Hub
from fleet.store.claims import is_held
from fleet.store.layout import Layout

ATTEMPTS, SALVAGE = "refs/fleet/attempts/", "refs/fleet/salvage/"
PASSED = b'{\n  "verdict": "pass"'  # how a report in gate.json begins


def read_traces(layout: Layout, target: Target, hub: Hub, *, since: Sequence[str] = ()) -> Truth:
    """All of it, or what is newer than `since` of the branch and all the rest."""
    tips = tuple(dict.fromkeys(commit for commit in target.tips() if commit is not None))
    landed = history.landed(target.git, tips, since=since)
    heads, salvaged = _refs(hub)
    epochs: dict[TaskId, int] = defaultdict(int)
    for task, epoch in (*heads, *salvaged, *_folders(layout.attempts, layout.workspaces)):
        epochs[task] = max(epochs[task], epoch)
    for entry in landed:
        epochs.pop(entry.task, None)
    return Truth(
        tips=tips,
        landed=landed,
        outside=history.outside(target.git, tips, landed, since=since),
        epochs=dict(epochs),
        heads=heads,
    )


def _refs(hub: Hub) -> tuple[dict[AttemptId, str], set[AttemptId]]:
    if not hub.path.is_dir():
        return {}, set()
    heads: dict[AttemptId, str] = {}
    salvaged: set[AttemptId] = set()
    for name, commit in hub.refs(ATTEMPTS).items():
        attempt = _attempt_of(name.removeprefix(ATTEMPTS))
        if attempt is not None:
            heads[attempt] = commit
    for name in hub.refs(SALVAGE):
        attempt = _attempt_of(name.removeprefix(SALVAGE))
        if attempt is not None:
            salvaged.add(attempt)
    return heads, salvaged


def _attempt_of(name: str) -> AttemptId | None:
    """`task/epoch` and whatever follows."""
    task, epoch, *_ = (*name.split("/"), "", "")
    found = parse_key(f"{task}.{epoch}")
    return found if found is not None and TASK_ID.fullmatch(found[0]) else None


def _folders(*places: Path) -> Iterator[AttemptId]:
    for place in places:
        for folder in place.iterdir() if place.is_dir() else ():
            found = parse_key(folder.name)
            if found is not None and TASK_ID.fullmatch(found[0]):
                yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """A `Witness` of what is on this disk."""

    layout: Layout
    hub: Hub

    def is_alive(self, task: TaskId) -> bool:
        return is_held(self.layout.claim_lock(task))

    def base_of(self, attempt: AttemptId) -> str:
        try:
            base = self.layout.workspace_base(*attempt).read_text("ascii").strip()
        except (OSError, ValueError):
            return ""
        known = OBJECT_ID.fullmatch(base) and self.hub.path.is_dir() and self.hub.has(base)
        return base if known else ""

    def passed(self, attempt: AttemptId) -> bool:
        """A hint only: the gate looks again before anything lands."""
        try:
            with self.layout.gate_report(*attempt).open("rb") as file:
                return file.read(len(PASSED)) == PASSED
        except OSError:
            return False
