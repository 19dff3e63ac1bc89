"""One try at one task: who holds it, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleet.core.task import Task, TaskId


class Outcome(StrEnum):
    """How an attempt ended."""

    MERGED = "merged"
    REJECTED = "rejected"  # the gate said no
    CONFLICT = "conflict"  # it does not merge with the tip
    TIMEOUT = "timeout"  # wall clock, or no progress
    CRASHED = "crashed"  # the agent ended badly and left nothing to test
    REFUSED = "refused"  # policy said no: empty, outside its paths, a submodule…
    UNPROVEN = "unproven"  # the gate could not run; does not count against the task
    ABANDONED = "abandoned"  # drained, or its worker died
    PARKED = "parked"  # its provider takes nothing for a while
    STUCK = "stuck"  # it went round in circles
    OVERSPENT = "overspent"  # its task's budget is spent
    CANCELLED = "cancelled"


# Outcomes that are no fault of the work: the attempt is given back.
UNCOUNTED = frozenset({Outcome.UNPROVEN, Outcome.CONFLICT, Outcome.PARKED, Outcome.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process no other process can be mistaken for: a pid alone is reused within a minute."""

    host: str
    boot_id: str
    pid: int
    started: int  # clock ticks since boot: field 22 of /proc/<pid>/stat
    worker: str  # "agent-3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on one task: its lock is held, and `epoch` fences every write."""

    task: Task
    epoch: int
    attempt: int  # counted attempts so far, this one included; starts at 1
    owner: Owner
    harvested: str = ""  # what the attempt before handed in before its worker died or was drained

    @property
    def key(self) -> str:
        return attempt_key(self.task.id, self.epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the ledger knows of one attempt."""

    task: TaskId
    epoch: int
    worker: str
    pid: int
    agent: str
    claimed_at: float
    ended_at: float | None = None
    outcome: Outcome | None = None  # None: not ended
    reason: str = ""
    base: str = ""
    head: str = ""  # the agent's work as one commit in the hub
    merge: str = ""  # the commit that was proven, or landed


def attempt_key(task: TaskId, epoch: int) -> str:
    """Names an attempt in paths, branches and process environments. Never reused."""
    return f"{task}.{epoch}"


def parse_key(key: str) -> tuple[TaskId, int] | None:
    """The attempt that a name made by `attempt_key` names; None for any other name."""
    task, _, epoch = key.rpartition(".")
    if not task or not epoch.isascii() or not epoch.isdigit():
        return None
    return task, int(epoch)
