"""A repository with a fleet's traces in it, made without running one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.landing.audit import Breach, audit
from fleet.repo import trailers
from fleet.repo.hub import Hub
from fleet.store.layout import Layout
from fleet.wiring import Fleet, open_fleet

CONFIG = '[fleet]\nagent = "echo"\n[gate]\ncommands = ["true"]\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    top: Path
    env: Mapping[str, str]

    def git(self, *args: str, git_dir: Path | None = None) -> str:
        where = ("--git-dir", str(git_dir)) if git_dir else ()
        return subprocess.run(
            ["git", *where, *args],
            cwd=self.top,
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def commit(self, message: str) -> str:
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def land(self, task: str, epoch: int) -> str:
        """A commit of the branch that looks as the lander's do."""
        return self.commit(trailers.message(task, "", task=task, epoch=epoch, run="r"))

    def attempt(self, task: str, epoch: int, commit: str) -> None:
        """Work that was harvested."""
        hub = Hub(self.layout.hub)
        hub.take(self.layout.common_dir, commit)
        hub.set_ref(f"refs/fleet/attempts/{task}/{epoch}", commit)

    @property
    def layout(self) -> Layout:
        cache = Path(self.env["XDG_CACHE_HOME"]) / "fleet"
        return Layout(common_dir=self.top / ".git", top=self.top, cache=cache)

    def open(self, *, mends: bool = True, thorough: bool = False) -> Fleet:
        return open_fleet(self.top, self.env, mends=mends, thorough=thorough)

    def states(self, *, thorough: bool = False) -> dict[str, tuple[str, int]]:
        fleet = self.open(thorough=thorough)
        try:
            return {view.task.id: (view.state, view.epoch) for view in fleet.roster.tasks()}
        finally:
            fleet.close()

    def breaches(self) -> list[Breach]:
        """But for tasks that are open, which they may be."""
        fleet = self.open()
        try:
            return [breach for breach in audit(fleet) if breach.invariant != "A4"]
        finally:
            fleet.close()


def a_place(folder: Path) -> Place:
    top = folder / "project"
    top.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@localhost",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    made = Place(top=top, env=env)
    made.git("init", "-q", "-b", "main")
    (top / "fleet.toml").write_text(CONFIG)
    made.git("add", "-A")
    made.commit("first")
    return made
