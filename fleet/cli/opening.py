"""How commands get at a fleet: to read it, or to change it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet import config as configuration
from fleet.config import Config
from fleet.core.attempt import Attempt
from fleet.core.errors import ConfigError, Problem
from fleet.core.profile import Profile
from fleet.core.state import TaskView
from fleet.core.story import Story
from fleet.repo.git import locate
from fleet.store import profiles as profile_files
from fleet.store import stories
from fleet.store.layout import Layout, shipped_agents
from fleet.store.taskfiles import TaskFiles, load
from fleet.store.view import View, open_for_reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A fleet for readers: looking at it creates nothing on disk."""

    config: Config
    layout: Layout
    task_folder: Path
    files: TaskFiles
    view: View

    def tasks(self) -> list[TaskView]:
        return self.view.tasks()

    def task(self, id_: str) -> TaskView:
        return self.view.task(id_)

    def attempts(self, id_: str) -> list[Attempt]:
        return self.view.attempts(id_)

    def stories(self, attempts: Sequence[Attempt]) -> dict[int, Story]:
        """By epoch, where an agent has told one."""
        each = ((one.epoch, stories.find(self.layout, one.task, one.epoch)) for one in attempts)
        return {epoch: story for epoch, story in each if story is not None}

    def profiles(self) -> Mapping[str, Profile]:
        own = self.layout.top / "agents"
        found = profile_files.load(shipped_agents(), own, self.config.proxy.secret_names())
        if found.problems:
            raise ConfigError(found.problems)
        return found.by_name

    def check_agents(self) -> None:
        """Every task's agent exists; all that do not are named at once."""
        known = self.profiles()
        names = {task: task.agent or self.config.fleet.agent for task in self.files.tasks}
        problems = [
            Problem(
                where=task.source,
                what=f"task {task.id!r}: "
                + (f"there is no agent {name!r}" if name else "no agent"),
                fix=f"set agent, here or in [fleet] of fleet.toml, to one of "
                f"{', '.join(sorted(known))}",
            )
            for task, name in names.items()
            if name not in known
        ]
        if problems:
            raise ConfigError(problems)


def view() -> Seen:
    places = locate(Path.cwd())
    top = places.top or places.common_dir
    config = configuration.load(top, os.environ)
    layout = Layout(
        common_dir=places.common_dir, top=top, cache=Path(config.workspace.root or config.env.cache)
    )
    folder = layout.task_folder(config.fleet.tasks)
    files = load(folder, max_attempts=config.fleet.max_attempts)
    return Seen(
        config=config,
        layout=layout,
        task_folder=folder,
        files=files,
        view=View(files=files, db=open_for_reading(layout.database), task_folder=folder),
    )
