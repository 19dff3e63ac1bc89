"""What git and folders know of a fleet, by which its ledger can be rebuilt. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.core.task import TaskId

AttemptId = tuple[TaskId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A commit of the branch that says which attempt of which task it is."""

    commit: str
    tree: str
    task: TaskId
    epoch: int
    at: float
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    tips: tuple[str, ...] = ()  # where the branch and fleet/landed were when this was read
    landed: tuple[Landed, ...] = ()  # oldest first
    outside: tuple[str, ...] = ()  # commits that are not ours, from before the first of ours on
    epochs: Mapping[TaskId, int] = field(default_factory=dict)  # the highest that left a trace
    heads: Mapping[AttemptId, str] = field(default_factory=dict)  # work in the hub
