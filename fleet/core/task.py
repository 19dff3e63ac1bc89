"""A task as its author wrote it, and the states the ledger gives it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

TaskId = str

# Ids become file names, branch names and refs, so the alphabet is small and case-folded.
TASK_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class TaskState(StrEnum):
    """Where a task stands. The second half is terminal."""

    PENDING = "pending"
    PARKED = "parked"  # as pending, but not before its provider takes calls again
    CLAIMED = "claimed"  # a worker holds its lock; the epoch is durable
    RUNNING = "running"  # its agent, or the proof of its result, is at work
    SUBMITTED = "submitted"  # proven on some base; waits for the lander
    LANDING = "landing"  # the lander has written down which commit it will land

    MERGED = "merged"
    FAILED = "failed"
    POISONED = "poisoned"  # its workers died again and again
    CANCELLED = "cancelled"
    BLOCKED = "blocked"  # something it depends on ended without being merged


TERMINAL = frozenset(
    {
        TaskState.MERGED,
        TaskState.FAILED,
        TaskState.POISONED,
        TaskState.CANCELLED,
        TaskState.BLOCKED,
    }
)
HELD = frozenset({TaskState.CLAIMED, TaskState.RUNNING})
IN_FLIGHT = frozenset({*HELD, TaskState.SUBMITTED, TaskState.LANDING})

# What people see; the reason says the rest.
SHOWN = {
    TaskState.PENDING: "pending",
    TaskState.PARKED: "parked",
    TaskState.CLAIMED: "claimed",
    TaskState.RUNNING: "running",
    TaskState.SUBMITTED: "running",
    TaskState.LANDING: "running",
    TaskState.MERGED: "completed",
    TaskState.FAILED: "failed",
    TaskState.POISONED: "failed",
    TaskState.CANCELLED: "failed",
    TaskState.BLOCKED: "failed",
}


class TestRule(StrEnum):
    """What a task may do to tests that exist on its base."""

    __test__ = False  # keep pytest from collecting it

    KEEP = "keep"  # edited or deleted tests are also run as the base has them
    MAY_CHANGE = "may-change"


class SuppressionRule(StrEnum):
    """Whether a task may add comments that silence checks, such as `# noqa`."""

    KEEP = "keep"
    MAY_ADD = "may-add"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One `[[tasks]]` entry. Values only: whether it may run is `policy`'s question."""

    id: TaskId
    prompt: str
    title: str = ""
    priority: int = 1  # 0 is the most urgent; ties go to file order
    depends_on: tuple[TaskId, ...] = ()
    agent: str = ""  # "" is the fleet's default
    model: str = ""
    paths: tuple[str, ...] = ()  # globs it may change; () is anything
    timeout_s: float | None = None  # None is the fleet's default
    max_attempts: int = 3
    budget_usd: float | None = None
    gate: tuple[str, ...] = ()  # commands besides the fleet's own
    labels: tuple[str, ...] = ()
    tests: TestRule = TestRule.KEEP
    suppressions: SuppressionRule = SuppressionRule.KEEP
    status: TaskState = TaskState.PENDING  # only `completed` and `failed` in a file are honoured
    failure_reason: str = ""
    source: str = ""  # "tasks/api.toml:12"

    @property
    def headline(self) -> str:
        """The title, or the prompt's first line, short enough for a commit subject."""
        text = self.title or next((line for line in self.prompt.splitlines() if line.strip()), "")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= 60 else text[:59] + "…"

    def as_json(self) -> str:
        """The ledger's form: only what differs from the defaults."""
        kept = {name: value for name, value in asdict(self).items() if value != _DEFAULTS.get(name)}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    @classmethod
    def of_json(cls, text: str) -> Task:
        data = {name: value for name, value in json.loads(text).items() if name in _DEFAULTS}
        for name in ("depends_on", "paths", "gate", "labels"):
            if name in data:
                data[name] = tuple(data[name])
        if "tests" in data:
            data["tests"] = TestRule(data["tests"])
        if "suppressions" in data:
            data["suppressions"] = SuppressionRule(data["suppressions"])
        if "status" in data:
            data["status"] = TaskState(data["status"])
        return cls(**data)


_DEFAULTS = {field.name: field.default for field in fields(Task)}
