"""`fleet pause`, `fleet resume`, `fleet stop`: rows that a running fleet obeys within a second."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import say
from fleet.core.errors import UsageError


def pause(reason: Annotated[str, typer.Argument(help="Shown by fleet status.")] = "") -> None:
    """No new claims until `fleet resume`; attempts in hand go on."""
    from fleet import control
    from fleet.wiring import open_fleet

    control.pause(open_fleet(Path.cwd(), os.environ).controls, reason, now=time.time())
    say("paused: no new task is claimed until `fleet resume`")


def resume() -> None:
    """Claim tasks again, parked ones too, whatever anybody waits for."""
    from fleet import control
    from fleet.wiring import open_fleet

    fleet, now = open_fleet(Path.cwd(), os.environ), time.time()
    woken = fleet.ledger.wake(now=now, early=True)
    resumed = control.resume(fleet.controls, now=now)
    also = f"; {woken} parked tasks go on" if woken else ""
    say(f"resumed{also}" if resumed or woken else "nothing was paused")


def stop(
    *, now: Annotated[bool, typer.Option("--now", help="End agents instead of waiting.")] = False
) -> None:
    """End the run here: finish what is in hand and land it, or with --now end the agents too."""
    from fleet import control
    from fleet.store.claims import is_held
    from fleet.wiring import open_fleet

    fleet = open_fleet(Path.cwd(), os.environ)
    if not is_held(fleet.layout.coordinator_lock):
        raise UsageError("no fleet is running in this repository")
    how = control.Stop.KILL if now else control.Stop.DRAIN
    control.stop(fleet.controls, how, now=time.time())
    say("stopping: agents are ended" if now else "stopping: attempts in hand are finished")
