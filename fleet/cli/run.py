"""`fleet run` and `fleet worker`."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import is_terminal, say
from fleet.core.errors import ConfigError, Exit, FleetError


def run(
    *,
    agents: Annotated[int, typer.Option("--agents", "-a", help="How many at once.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line.")] = False,
    force: Annotated[bool, typer.Option(help="Allow more than 100 agents.")] = False,
) -> None:
    """Carry out all open tasks and land what is proven. Running it again goes on where it was.

    Ctrl-C once: finish what is in hand. Twice: end the agents, keep their work. Three times: leave
    at once. Exit code 0: all landed, 1: some did not, 3: something to configure, 75: another
    coordinator is at work here.
    """
    import asyncio

    from fleet.coordinator import Coordinator, take_lock
    from fleet.core.task import IN_FLIGHT
    from fleet.faces.live import screen
    from fleet.faces.render import summary
    from fleet.wiring import open_fleet

    fleet = open_fleet(Path.cwd(), os.environ, force=force)
    wanted = agents or fleet.config.fleet.agents
    if wanted > 100 and not force:
        raise FleetError(f"--agents {wanted}: more than 100 need --force")
    take_lock(fleet).release()  # say so at once when another coordinator is at work
    _take_tasks(fleet)
    counts = fleet.roster.counts()
    if counts.total == 0:
        raise FleetError(
            f"no tasks in {fleet.layout.task_folder(fleet.config.fleet.tasks)}: add one with "
            '`fleet task add "what to do"`'
        )
    if counts.open == 0:
        _publish(fleet)
        say("nothing to do: every task has ended")
        for line in summary(counts, fleet.roster.tasks(), fault="", waiting_on=_waiting(fleet)):
            say(line)
        raise typer.Exit(_code(fleet, interrupted=False))
    preflight(fleet)
    with screen(
        as_json=as_json,
        terminal=is_terminal(),
        snapshot=lambda: (fleet.roster.counts(), fleet.roster.tasks(states=IN_FLIGHT)),
    ) as live:
        ended = asyncio.run(
            Coordinator(fleet, agents=wanted, environ=os.environ, tell=live.tell).run()
        )
    if not as_json:
        lines = summary(
            ended.counts, fleet.roster.tasks(), fault=ended.fault, waiting_on=_waiting(fleet)
        )
        for line in lines:
            say(line)
    raise typer.Exit(_code(fleet, interrupted=ended.interrupted))


def worker() -> None:
    """One worker by hand: works beside a `fleet run` or without one, until nothing is left."""
    from fleet.wiring import open_fleet
    from fleet.worker.__main__ import work

    fleet = open_fleet(Path.cwd(), os.environ)
    _take_tasks(fleet)
    preflight(fleet)
    top = fleet.layout.top
    fleet.close()
    raise typer.Exit(work(top, None))


def _publish(fleet: Fleet) -> None:
    """Results of an earlier run may wait for a clean checkout: try again."""
    from fleet.landing.branch import Branch

    branch = Branch(fleet, lambda: None)
    tip = branch.look()
    if tip is not None:
        branch.publish(tip)


def _waiting(fleet: Fleet) -> str:
    landed = fleet.target.landed()
    if landed is None:
        return ""
    branch = fleet.target.branch
    return (
        f"results wait on fleet/landed ({landed[:10]}): your checkout of {branch} has changes of its "
        "own. Commit or stash them and run fleet again, or `git merge --ff-only fleet/landed`"
    )


def _code(fleet: Fleet, *, interrupted: bool) -> Exit:
    counts = fleet.roster.counts()
    if interrupted:
        return Exit.INTERRUPTED
    return Exit.OK if counts.merged == counts.total else Exit.SOME_FAILED


def _take_tasks(fleet: Fleet) -> None:
    """Refuse before the first claim when any file has a problem; else the ledger follows."""
    import time

    from fleet.store.taskfiles import load

    found = load(fleet.layout.task_folder(fleet.config.fleet.tasks))
    if found.problems:
        raise ConfigError(found.problems)
    fleet.roster.sync(found.tasks, now=time.time())


def preflight(fleet: Fleet) -> None:
    """What can be known to fail is said now, not task by task."""
    from fleet.store.profiles import missing_program

    _ = fleet.gate  # no gate, or a tool that is not there, is an error
    fleet.take_tip()
    names = set()
    for view in fleet.roster.tasks():
        if not view.landed and view.shown == "pending":
            profile = fleet.profile_for(view.task)
            names.add(profile.name)
    for name in sorted(names):
        profile = fleet.profiles[name]
        missing = missing_program(profile, fleet.config.env.path)
        if missing:
            raise FleetError(
                f"agent {name!r} needs {missing!r}, which is not on PATH: install it, or set another "
                f"agent ({profile.source})"
            )
