"""`fleet run` and `fleet worker`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import is_terminal, say
from fleet.core.errors import Exit, FleetError, StorageError, UsageError


def run(
    *,
    agents: Annotated[
        int, typer.Option("--agents", "-a", min=0, help="How many at once; 0 is fleet.toml's.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Allow more than 100 agents.")] = False,
    record: Annotated[
        Path | None, typer.Option("--record", help="Keep every model exchange in this folder.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", help="Answer from such a folder; no provider.")
    ] = None,
) -> None:
    """Carry out all open tasks and land what is proven. Running it again goes on where it was.

    Ctrl-C once: finish what is in hand. Twice: end the agents, keep their work. Three times: leave
    at once. Exit code 0: all landed, 1: some did not, 3: something to configure, 75: another
    coordinator is at work here.
    """
    import asyncio
    import time

    from fleet.coordinator import Coordinator, Tape, take_lock
    from fleet.core.task import IN_FLIGHT
    from fleet.faces.live import screen
    from fleet.faces.render import summary
    from fleet.landing.publish import publish, waiting
    from fleet.store.claims import is_held
    from fleet.wiring import open_fleet
    from fleet.worker.preflight import preflight, take_tasks

    fleet = open_fleet(Path.cwd(), os.environ, force=force, thorough=True)
    wanted = agents or fleet.config.fleet.agents
    if wanted > 100 and not force:
        raise UsageError(f"--agents {wanted}: more than 100 need --force")
    served = is_held(fleet.layout.proxy_lock)  # with its own keys
    _check_tape(record, replay, served=served)
    tape = Tape(record=record and record.absolute(), replay=replay and replay.absolute())
    take_lock(fleet).release()  # say so at once when another coordinator is at work
    take_tasks(fleet)
    counts = fleet.roster.counts()
    if counts.total == 0:
        raise FleetError(
            f"no tasks in {fleet.layout.task_folder(fleet.config.fleet.tasks)}: add one with "
            '`fleet task add "what to do"`'
        )
    began, fault, interrupted = time.time(), "", False
    if counts.open == 0:
        fault = publish(fleet)
        if not as_json:
            say("nothing to do: every task has ended")
    else:
        preflight(fleet, keys=not (served or replay))
        with screen(
            as_json=as_json,
            terminal=is_terminal(),
            snapshot=lambda: (fleet.roster.counts(), fleet.roster.tasks(states=IN_FLIGHT)),
        ) as shown:
            coordinator = Coordinator(
                fleet, agents=wanted, environ=os.environ, tell=shown.tell, tape=tape
            )
            ended = asyncio.run(coordinator.run())
        fault, interrupted = ended.fault, ended.interrupted
    counts, waits = fleet.roster.counts(), "" if fault else waiting(fleet)
    if not as_json:
        for line in summary(counts, fleet.roster.tasks(), fault=fault, waiting_on=waits):
            say(line)
        for line in _traffic(fleet.layout.calls_database, since=began):
            say(line)
    if interrupted:
        raise typer.Exit(Exit.INTERRUPTED)
    all_there = counts.merged == counts.total and not waits and not fault
    raise typer.Exit(Exit.OK if all_there else Exit.SOME_FAILED)


def _traffic(calls: Path, *, since: float) -> list[str]:
    """What the agents of this run asked of models, if they asked anything."""
    import contextlib

    from fleet.faces.traffic import summary_lines
    from fleet.store.traffic import open_calls, totals

    try:
        with contextlib.closing(open_calls(calls)) as db:
            return summary_lines(totals(db, since=since))
    except StorageError as error:  # what has landed has landed
        return [str(error)]


def _check_tape(record: Path | None, replay: Path | None, *, served: bool) -> None:
    if record and replay:
        raise UsageError("--record and --replay: choose one")
    if replay and not replay.is_dir():
        raise UsageError(f"--replay {replay}: there is no such folder")
    if served and (record or replay):
        raise UsageError(
            f"{'--record' if record else '--replay'}: a proxy serves this repository already, and "
            "was not told so: end it first (`fleet doctor` says which process it is)"
        )


def worker() -> None:
    """One worker by hand: works beside a `fleet run` or without one, until nothing is left."""
    from fleet import control
    from fleet.core.task import TaskState
    from fleet.store.claims import is_held
    from fleet.wiring import open_fleet
    from fleet.worker.__main__ import work
    from fleet.worker.preflight import preflight, take_tasks

    fleet = open_fleet(Path.cwd(), os.environ, thorough=True)
    take_tasks(fleet)
    preflight(fleet, keys=False)
    if not is_held(fleet.layout.coordinator_lock):
        control.begin(fleet.controls, agents=0)  # a run that ended or was killed left its orders
    paused = control.read(fleet.controls).paused
    if paused:
        say(f"paused: {paused}: nothing is claimed until `fleet resume`")
    code = work(fleet.layout.top, None)
    waits = fleet.roster.counts().of(TaskState.SUBMITTED, TaskState.LANDING)
    if waits and not is_held(fleet.layout.lander_lock):
        say(f"{waits} proven, and waiting for a lander: `fleet run` lands them")
    fleet.close()
    raise typer.Exit(code)
