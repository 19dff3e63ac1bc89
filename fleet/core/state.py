"""Where a fleet stands, as values that every screen is made of."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.task import SHOWN, TERMINAL, Task, TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One task and its newest attempt."""

    task: Task
    state: TaskState
    epoch: int = 0
    attempts: int = 0
    reason: str = ""
    landed: str = ""  # the commit on the target branch
    waiting: int = 0  # how many of its dependencies have not landed
    not_before: float = 0.0
    worker: str = ""
    agent: str = ""
    claimed_at: float = 0.0

    @property
    def shown(self) -> str:
        return SHOWN[self.state]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many tasks are in each state."""

    by_state: tuple[tuple[TaskState, int], ...]

    def of(self, *states: TaskState) -> int:
        return sum(number for state, number in self.by_state if state in states)

    @property
    def total(self) -> int:
        return sum(number for _, number in self.by_state)

    @property
    def open(self) -> int:
        """Tasks that have not ended."""
        return sum(number for state, number in self.by_state if state not in TERMINAL)

    @property
    def merged(self) -> int:
        return self.of(TaskState.MERGED)
