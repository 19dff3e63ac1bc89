"""What can be known to fail is said before the first claim, not task by task."""

from __future__ import annotations

import time

from fleet.core.errors import ConfigError, FleetError
from fleet.core.task import TaskState
from fleet.store.profiles import missing_program
from fleet.store.taskfiles import load
from fleet.wiring import Fleet


def take_tasks(fleet: Fleet) -> None:
    """The ledger follows the task files; a problem in any of them refuses all."""
    settings = fleet.config.fleet
    found = load(fleet.layout.task_folder(settings.tasks), max_attempts=settings.max_attempts)
    if found.problems:
        raise ConfigError(found.problems)
    for task in found.tasks:
        fleet.profile_for(task)
    fleet.roster.sync(found.tasks, now=time.time())


def preflight(fleet: Fleet) -> None:
    """The gate's tools, the branch and the agents of all open tasks are there."""
    _ = fleet.gate  # no gate, or a tool that is missing, is an error
    fleet.take_tip()
    pending = fleet.roster.tasks(states={TaskState.PENDING})
    for name in sorted({fleet.profile_for(view.task).name for view in pending}):
        profile = fleet.profiles[name]
        missing = missing_program(profile, fleet.config.env.path)
        if missing:
            raise FleetError(
                f"agent {name!r} needs {missing!r}, which is not on PATH: install it, or set "
                f"another agent ({profile.source})"
            )
