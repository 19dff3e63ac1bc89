"""What can be known to fail is said before the first claim, not task by task."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet.config import Config
from fleet.core.errors import ConfigError, FleetError, NoSpaceError
from fleet.core.profile import Profile
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


def preflight(fleet: Fleet, *, keys: bool = True) -> None:
    """Room on the disk, the gate's tools, the branch, the agents of all open tasks and their models
    are there; without `keys`, another process has them."""
    no_room = fleet.space.lacking()
    if no_room:
        raise NoSpaceError(no_room)
    _ = fleet.sandbox  # walls that must be there, and are not, are an error
    _ = fleet.gate  # and so is no gate, or a tool that is missing
    fleet.take_tip()
    pending = fleet.roster.tasks(states={TaskState.PENDING, TaskState.PARKED})
    for name in sorted({fleet.profile_for(view.task).name for view in pending}):
        profile = fleet.profiles[name]
        missing = missing_program(profile, fleet.config.env.path)
        if missing:
            raise FleetError(
                f"agent {name!r} needs {missing!r}, which is not on PATH: install it, or set "
                f"another agent ({profile.source})"
            )
    for lacking in models_lacking(fleet.config, map(fleet.asks, (view.task for view in pending))):
        if keys or not lacking.key:
            raise FleetError(lacking.what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """Why agents would get no answer."""

    what: str
    key: bool = False  # only a key is missing


def models_lacking(config: Config, asked: Iterable[tuple[Profile, str]]) -> Iterator[Lacking]:
    """What stands between agents with their models and an answer, each thing once."""
    wanted = {(api, model, profile.name) for profile, model in asked for api in profile.api}
    told = set()
    for api, model, agent in sorted(wanted):
        found = config.proxy.upstream_for(api, model)
        if found is None:
            wants = f"agent {agent!r} speaks {api}" + (f" and asks for {model!r}" if model else "")
            yield Lacking(
                what=f"{wants}, but no upstream does: add a [proxy.upstreams.NAME] to fleet.toml"
            )
        elif found.name in told:
            continue
        elif found.script and not Path(found.script).is_file():
            yield Lacking(
                what=f"upstream {found.name!r} plays {found.script}, which is not there: write "
                "it, or change [proxy.upstreams] in fleet.toml"
            )
        elif found.lacks_key(config.env.variables):
            yield Lacking(
                what=f"agent {agent!r} needs a model: upstream {found.name!r} needs a key, and "
                f"{' or '.join(found.keys)} is not set: set it, or configure another upstream in "
                "fleet.toml",
                key=True,
            )
        told.add(found.name if found else "")
