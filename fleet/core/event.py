"""Everything that can happen in a fleet, in one vocabulary.

Events narrate what the ledger has decided; they are written in the same transaction. Screens,
`--json` and tests read them by sequence number. A reader skips kinds it does not know, so old
readers survive new writers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self


class Kind(StrEnum):
    RUN_STARTED = "run-started"
    RUN_ENDED = "run-ended"
    WORKER_STARTED = "worker-started"
    WORKER_ADOPTED = "worker-adopted"
    WORKER_EXITED = "worker-exited"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPING = "stopping"
    SANDBOX = "sandbox"  # the walls of this run

    BREAKER = "breaker"  # the proxy asks an upstream no more, or again
    KEY_REFUSED = "key-refused"
    BUDGET = "budget"  # much of one is spent
    SETTINGS = "settings"  # fleet.toml was changed, and taken over or not

    TASK_ADDED = "task-added"
    TASK_CHANGED = "task-changed"
    CLAIMED = "claimed"
    RUNNING = "running"
    PARKED = "parked"  # until its provider takes calls again
    UNPARKED = "unparked"
    NOTED = "noted"  # a person told the agent something
    AGENT_ENDED = "agent-ended"
    HARVESTED = "harvested"
    GATED = "gated"
    SUBMITTED = "submitted"
    LANDING = "landing"
    LANDED = "landed"
    RETURNED = "returned"  # back to pending, with the reason
    ENDED = "ended"  # terminal without being merged
    REVIVED = "revived"
    SALVAGED = "salvaged"
    REBUILT = "rebuilt"  # the ledger lacked what git knows, and has it now
    EXTERNAL = "external"  # a commit that is not ours became the base
    WAITING = "waiting"  # a result waits on fleet/landed: the checkout is not clean
    PUBLISHED = "published"  # and now the branch has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `at` is a POSIX time in seconds, for display only."""

    kind: Kind
    at: float
    seq: int = 0  # given by the ledger
    task: str = ""
    epoch: int = 0
    worker: str = ""
    agent: str = ""
    state: str = ""
    outcome: str = ""
    commit: str = ""
    verdict: str = ""
    reason: str = ""
    number: float = 0.0  # what it counts is the kind's: seconds for gated, a pid for workers
    paths: tuple[str, ...] = ()

    def body(self) -> str:
        """The fields that are set, but for those the ledger keeps in columns, as JSON."""
        kept = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _COLUMNS and getattr(self, field.name) != field.default
        }
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def of(cls, *, seq: int, at: float, kind: str, task: str, epoch: int, body: str) -> Self | None:
        """The event of one ledger row; None for a kind this version does not know."""
        if kind not in _KINDS:
            return None
        data = {key: value for key, value in json.loads(body).items() if key in _FIELDS}
        if "paths" in data:
            data["paths"] = tuple(data["paths"])
        return cls(kind=Kind(kind), at=at, seq=seq, task=task, epoch=epoch, **data)

    def as_json(self) -> str:
        """One line for `--json`: every field that is set."""
        whole = {"seq": self.seq, "at": round(self.at, 3), "kind": self.kind.value}
        whole |= {"task": self.task} if self.task else {}
        whole |= {"epoch": self.epoch} if self.epoch else {}
        return json.dumps(whole | json.loads(self.body()), ensure_ascii=False)


_COLUMNS = frozenset({"seq", "at", "kind", "task", "epoch"})
_FIELDS = frozenset(field.name for field in fields(Event)) - _COLUMNS
_KINDS = frozenset(kind.value for kind in Kind)
