"""`python -m fleet.worker`: one worker process. No typer: it must start fast and stay small."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.process.identity import myself
from fleet.process.kernel import forget, hide
from fleet.process.stop import StopFlag
from fleet.process.tree import become_subreaper
from fleet.store.claims import hold
from fleet.store.space import refused
from fleet.telemetry import logs
from fleet.wiring import open_fleet
from fleet.worker.loop import Post, Worker

SLOT_WAIT_S = 2.0  # somebody may only be asking whether the slot is taken


def main() -> int:
    parser = argparse.ArgumentParser(prog="fleet.worker", description="One worker of a fleet.")
    parser.add_argument("--top", type=Path, required=True, help="the checkout to work for")
    parser.add_argument("--number", type=int, help="agent-NUMBER of a run; without it: by hand")
    options = parser.parse_args()
    try:
        with refused(options.top):
            return work(options.top, options.number)
    except FleetError as error:
        logging.getLogger(__name__).error("%s", error)
        sys.stderr.write(f"fleet worker: {error}\n")
        return error.exit_code


def work(top: Path, number: int | None) -> int:
    name = f"agent-{number}" if number is not None else f"hand-{os.getpid()}"
    with StopFlag() as stop:
        fleet = open_fleet(top, os.environ, mends=number is None)
        forget(fleet.config.proxy.secret_names())  # agents run as our user and can see /proc
        hide()
        logs.start(
            fleet.layout.logs / f"{name}.log",
            form=fleet.config.env.log_format,
            role=name,
            to_stderr=number is None,
            secrets=fleet.config.secrets(),
        )
        slot = hold(fleet.layout.worker_lock(name), timeout_s=SLOT_WAIT_S)
        if slot is None:
            return 0  # another worker has this number: it has been adopted
        with slot:
            become_subreaper()
            Worker(fleet, Post(owner=myself(name), number=number), stop, random.Random()).run()
        fleet.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
