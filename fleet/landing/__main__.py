"""`python -m fleet.landing`: the one lander of a repository."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
from pathlib import Path

from fleet import control
from fleet.core.errors import FleetError, NoSpaceError
from fleet.core.task import HELD
from fleet.gate.cleanroom import Caller, Interrupted
from fleet.landing.branch import Branch
from fleet.landing.lander import Lander
from fleet.process.stop import StopFlag
from fleet.process.tree import become_subreaper
from fleet.store.claims import hold, is_held
from fleet.store.space import refused
from fleet.telemetry import logs
from fleet.wiring import Fleet, open_fleet

TURN_S = 0.1
PUBLISH_S = 2.0  # between looks whether a dirty checkout has become clean
SLOT_WAIT_S = 2.0

log = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(prog="fleet.landing", description="The lander of a fleet.")
    parser.add_argument("--top", type=Path, required=True, help="the checkout to work for")
    options = parser.parse_args()
    try:
        with refused(options.top):
            return land(options.top)
    except FleetError as error:
        log.error("%s", error)
        sys.stderr.write(f"fleet lander: {error}\n")
        return error.exit_code


def land(top: Path) -> int:
    with StopFlag() as stop:
        fleet = open_fleet(top, os.environ, mends=False)
        logs.start(
            fleet.layout.logs / "lander.log",
            form=fleet.config.env.log_format,
            role="lander",
            to_stderr=False,
            secrets=fleet.config.secrets(),
        )
        lock = hold(fleet.layout.lander_lock, timeout_s=SLOT_WAIT_S)
        if lock is None:
            return 0  # another lander lives: it has been adopted
        with lock:
            become_subreaper()
            fleet.hub.tidy()
            _turns(fleet, stop)
        fleet.close()
    return 0


def _turns(fleet: Fleet, stop: StopFlag) -> None:
    def stopped() -> str | None:
        killed = control.read(fleet.controls).stop is control.Stop.KILL
        return "stopped" if stop.draining or killed else None

    by = Caller(mark=fleet.layout.mark("lander", os.getpid()), stopped=stopped, first=True)
    lander = Lander(fleet, Branch(fleet, by), by, random.Random())
    while not stop.draining:
        seen = fleet.db.version()
        try:
            with refused(fleet.layout.workspaces):
                busy = lander.turn()
        except Interrupted:
            return
        except NoSpaceError as error:
            # Whatever was to land is written down and comes again: stop claiming, and say so.
            control.fault(fleet.controls, str(error), now=time.time())
            return
        if busy:
            continue
        if _is_alone(fleet):
            return
        # Sleep until the ledger changes, or long enough that a checkout may be clean by now.
        waited = 0.0
        while fleet.db.version() == seen and waited < PUBLISH_S and not stop.wait(TURN_S):
            waited += TURN_S


def _is_alone(fleet: Fleet) -> bool:
    """No coordinator, and nobody who could still submit anything."""
    if is_held(fleet.layout.coordinator_lock):
        return False
    if fleet.queue.waiting():
        return False
    return not any(
        is_held(fleet.layout.claim_lock(view.task.id)) for view in fleet.roster.tasks(states=HELD)
    )


if __name__ == "__main__":
    sys.exit(main())
