"""The errors a person can act on, and the exit codes they end in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """How a command ends. Scripts may rely on these."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    CONFIG = 3
    IO = 70
    HELD = 75  # another coordinator holds this repository
    INTERRUPTED = 130


class FleetError(Exception):
    """Something the user can act on: the message says what, where and what to do."""

    exit_code: Exit = Exit.CONFIG


class UsageError(FleetError):
    """The command line asks for something that cannot be done."""

    exit_code = Exit.USAGE


class HeldError(FleetError):
    """Another coordinator holds this repository."""

    exit_code = Exit.HELD


class StorageError(FleetError):
    """The disk refused (fsync, EIO, no space). Nothing after it may be believed: stop."""

    exit_code = Exit.IO


class NoSpaceError(StorageError):
    """The disk is full. Nothing is half done: it goes on where it was once there is room."""


class DamagedError(StorageError):
    """A file of fleet's own is not as it was written."""


class StaleError(Exception):
    """A transition was refused: the task has moved on to a newer epoch or state. Stop at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a file a person wrote."""

    where: str  # "tasks/api.toml:12"
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n    {self.fix}" if self.fix else "")


class ConfigError(FleetError):
    """One or more problems in the files a person wrote, all of them at once."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@contextlib.contextmanager
def unwrapped() -> Iterator[None]:
    """A task group wraps the faults that pass through it: bring out the first one a user can act
    on, the others being its consequences."""
    try:
        yield
    except BaseExceptionGroup as group:
        known = group.subgroup(FleetError)
        if known is None:
            raise
        raise _first(known) from None


def _first(group: BaseExceptionGroup[FleetError]) -> FleetError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
