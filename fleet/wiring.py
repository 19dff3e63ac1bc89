"""From a folder and an environment to the stores and tools this fleet runs on.

It builds and connects. Decisions live below (policy, gate) or above (worker, lander).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fleet import config as configuration
from fleet.config import Config, Network, SandboxMode, Suppressions
from fleet.core.errors import ConfigError, FleetError
from fleet.core.policy import Backoff
from fleet.core.profile import Profile
from fleet.core.task import Task
from fleet.gate.candidate import Candidate
from fleet.gate.checks import Tools, find_tools
from fleet.gate.cleanroom import Caller, CleanRoom
from fleet.gate.environment import Environments, tools_in
from fleet.gate.policy import Rules
from fleet.gate.proof import Gate, checks_of
from fleet.gate.shadows import reserved
from fleet.process.bounds import MB, Bounds
from fleet.process.sandbox.sandbox import NO_WALLS, Sandbox, climb
from fleet.process.sandbox.view import Allowed, Rung, shown
from fleet.recovery.opening import Opened
from fleet.recovery.state import layout_of, open_state, target_of
from fleet.repo import merge, trailers
from fleet.repo.branch import Target
from fleet.repo.git import locate, require_version
from fleet.repo.hub import Hub
from fleet.repo.tip import accepted
from fleet.store import profiles as profile_files
from fleet.store.claims import is_held
from fleet.store.controls import Controls
from fleet.store.database import Database
from fleet.store.layout import Layout, shipped_agents
from fleet.store.ledger import Ledger
from fleet.store.queue import Queue
from fleet.store.reports import Reports
from fleet.store.roster import Roster
from fleet.store.space import Space

AUTHOR_NAME, AUTHOR_EMAIL = "fleet", "fleet@localhost"
LANDINGS_S, LANDINGS_POLL_S = 5.0, 0.02


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Everything one process of a fleet works with. Not shared between threads or forks."""

    config: Config
    layout: Layout
    opened: Opened
    target: Target
    profiles: Mapping[str, Profile]

    @property
    def db(self) -> Database:
        return self.opened.db

    @cached_property
    def space(self) -> Space:
        return Space(layout=self.layout, floor=self.config.workspace.min_free_mb * MB)

    @cached_property
    def hub(self) -> Hub:
        return Hub(self.layout.hub)

    @cached_property
    def ledger(self) -> Ledger:
        settings = self.config.fleet
        return Ledger(
            self.db,
            Backoff(first_s=settings.retry_delay_s, cap_s=settings.retry_delay_cap_s),
            unproven_allowed=self.config.gate.retries,
        )

    @cached_property
    def roster(self) -> Roster:
        return Roster(self.db)

    @cached_property
    def queue(self) -> Queue:
        return Queue(self.db)

    @cached_property
    def controls(self) -> Controls:
        return Controls(self.db)

    @cached_property
    def tools(self) -> Tools:
        return find_tools(
            wanted_python=self.config.gate.python,
            top=self.layout.top,
            search=self.config.env.path,
        )

    @cached_property
    def sandbox(self) -> Sandbox:
        """The walls around agents and gates; an error where there must be some and are none."""
        return sandbox_for(self.config, self.layout)

    @cached_property
    def environments(self) -> Environments:
        settings = self.config.workspace
        return Environments(
            hub=self.hub,
            layout=self.layout,
            tools=self.tools,
            sandbox=self.sandbox,
            setup=settings.setup,
            lock_files=settings.lock_files,
        )

    @cached_property
    def gate(self) -> Gate:
        settings = self.config.gate
        room = CleanRoom(
            hub=self.hub,
            layout=self.layout,
            tools=self.tools,
            sandbox=self.sandbox,
            timeout_s=settings.timeout_s,
            slots=settings.slots,
            bounds=Bounds(
                processes=settings.max_processes,
                memory_bytes=settings.max_memory_mb * MB,
                disk_bytes=settings.max_disk_mb * MB,
                free_bytes=settings.min_free_mb * MB,
            ),
        )
        return Gate(
            room=room,
            reports=Reports(self.db),
            checks=checks_of(settings.commands),
            environments=self.environments,
        )

    @cached_property
    def rules(self) -> Rules:
        settings = self.config.gate
        return Rules(
            protected=settings.protected,
            restore=settings.on_protected == "restore",
            max_file_bytes=settings.max_file_mb * MB,
            may_silence=settings.suppressions is Suppressions.ALLOW,
            installed=reserved(self.tools),
        )

    def profile_for(self, task: Task) -> Profile:
        """The agent a task names, or the fleet's default."""
        name = task.agent or self.config.fleet.agent
        profile = self.profiles.get(name)
        if profile is not None:
            return profile
        where = f"{task.source}: task {task.id!r}"
        if not name:
            raise FleetError(
                f"{where} names no agent and fleet.toml has no [fleet] agent: set one of "
                f"{', '.join(sorted(self.profiles))}"
            )
        raise FleetError(
            f"{where}: there is no agent {name!r}; there are {', '.join(sorted(self.profiles))}"
        )

    def asks(self, task: Task) -> tuple[Profile, str]:
        """A task's agent, and the model it is told to use."""
        profile = self.profile_for(task)
        return profile, task.model or profile.model

    @cached_property
    def agents_with_model(self) -> frozenset[str]:
        """Agents that cannot work without a proxy, as tasks name them: "" is the default one."""
        named = {name for name, profile in self.profiles.items() if profile.api}
        return frozenset(named | ({""} if self.config.fleet.agent in named else set()))

    def take_tip(self) -> str:
        """The commit new work starts from and is proven on, in the hub."""
        return accepted(self.target, self.hub).commit

    def await_landings(self, by: Caller) -> None:
        """Until nothing is about to land that needs no more gating, or no lander lives."""
        deadline, pause = time.monotonic() + LANDINGS_S, threading.Event()
        while time.monotonic() < deadline and is_held(self.layout.lander_lock):
            waiting = self.queue.waiting()
            if not waiting:
                return
            tip = self.take_tip()
            if not any(entry.base in (tip, "") or entry.merge == tip for entry in waiting):
                return
            by.check()
            pause.wait(LANDINGS_POLL_S)

    def attempt_start(self, task: str, epoch: int) -> tuple[str, float]:
        """The commit an attempt began with, and when it was claimed."""
        asked = "SELECT base, claimed_at FROM attempts WHERE task = ? AND epoch = ?"
        row = self.db.one(asked, (task, epoch))
        return (str(row[0]), float(row[1] or 0.0)) if row else ("", 0.0)

    def agent_environment(self, home: Path, tmp: Path, place: Path | None = None) -> dict[str, str]:
        """What an agent may see: an allow-list, with nothing of the user's but PATH. `place` is
        the environment that `[workspace] setup` has made."""
        return {
            **({"FLEET_ENV": str(place), "VIRTUAL_ENV": str(place)} if place else {}),
            "PATH": tools_in(place, self.tools).path if place else self.config.env.path,
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_DATA_HOME": str(home / ".local/share"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "CI": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def close(self) -> None:
        self.opened.close()


def sandbox_for(config: Config, layout: Layout) -> Sandbox:
    """As high as this machine and fleet.toml allow."""
    settings, env = config.sandbox, config.env
    if settings.mode is SandboxMode.OFF:
        return NO_WALLS
    found = climb(
        env.path,
        private=(env.home, layout.top, layout.common_dir, layout.workspaces),
        allowed=Allowed(
            binds=(
                *(shown(path) for path in settings.read),
                *(shown(path, writable=True) for path in settings.write),
            ),
            network=settings.network is Network.OPEN,
        ),
    )
    if settings.mode is SandboxMode.REQUIRED and found.rung is Rung.NONE:
        raise FleetError(
            'fleet.toml: [sandbox] mode is "required", but this machine has no walls to put up: '
            "install bubblewrap, allow it user namespaces, or take a kernel with Landlock"
        )
    return found


def open_fleet(
    start: Path,
    environ: Mapping[str, str],
    *,
    force: bool = False,
    mends: bool = True,
    thorough: bool = False,
) -> Fleet:
    """Find the repository around `start`, read its configuration and open its state. `mends` and
    `thorough` as for the ledger: children of a run leave it to whoever starts the next."""
    require_version()
    places = locate(start)
    top = places.top or places.common_dir
    config = configuration.load(top, environ, force=force)
    found = profile_files.load(shipped_agents(), top / "agents", config.proxy.secret_names())
    if found.problems:
        raise ConfigError(found.problems)
    layout = layout_of(places, config)
    target = target_of(places, config)
    opened = open_state(places, config, layout, mends=mends, thorough=thorough)
    fleet = Fleet(
        config=config, layout=layout, opened=opened, target=target, profiles=found.by_name
    )
    fleet.hub.create(places.common_dir)
    return fleet


def proven_commit(
    fleet: Fleet, task: Task, epoch: int, candidate: Candidate, *, head: str, at: float
) -> str:
    """The merge commit of a candidate: the same input gives the same commit, so a replay after a
    crash lands nothing twice."""
    return merge.commit(
        fleet.hub,
        candidate.tree,
        (candidate.base, head),
        trailers.message(
            task.headline,
            "",
            task=task.id,
            epoch=epoch,
            run=fleet.controls.get("run") or "by-hand",
        ),
        author_name=AUTHOR_NAME,
        author_email=AUTHOR_EMAIL,
        at=int(at),
    )
