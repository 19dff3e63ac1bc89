"""A whole fleet in one process: a worker's and a lander's own code, taking turns.

For tests that need thousands of runs: agents and gates are real processes, everything else is
here. What it cannot show are processes that meet each other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import tomli_w

from fleet import control
from fleet.gate.cleanroom import Caller
from fleet.landing.branch import Branch
from fleet.landing.lander import Lander
from fleet.landing.publish import publish
from fleet.process.identity import myself
from fleet.process.stop import StopFlag
from fleet.wiring import Fleet
from fleet.worker.loop import Post, Worker
from fleet.worker.preflight import preflight, take_tasks
from fleet.worker.workspace import sweep
from tests.recovery.place import Place

CONFIG = """\
[sandbox]
mode = "off"
[fleet]
agent = "echo"
retry_delay = "0.01s"
[gate]
commands = ["test -f base.txt"]
"""
GIVE_UP_S = 120.0


def write_tasks(place: Place, names: list[str], *, prompt: str = "") -> None:
    """Each writes a file of its own name."""
    (place.top / "tasks").mkdir()
    tasks = [{"id": name, "prompt": f"@write {name}.txt\n{name}\n@end\n{prompt}"} for name in names]
    (place.top / "tasks" / "tasks.toml").write_text(tomli_w.dumps({"tasks": tasks}))
    (place.top / "fleet.toml").write_text(CONFIG)
    (place.top / "base.txt").write_text("base\n")
    place.git("add", "-A")
    place.commit("tasks")


def run(place: Place, *, enough: Callable[[Fleet], bool] = lambda _: False) -> str:
    """What `fleet run` does, until all has ended, or is enough. Why it paused itself, or ""."""
    fleet = place.open(thorough=True)
    try:
        take_tasks(fleet)
        control.begin(fleet.controls, agents=0)
        if fleet.roster.counts().open:
            preflight(fleet)
            sweep(fleet)
            _take_turns(fleet, enough)
        publish(fleet)
        orders = control.read(fleet.controls)
        return orders.paused if orders.faulty else ""
    finally:
        fleet.close()


def _take_turns(fleet: Fleet, enough: Callable[[Fleet], bool]) -> None:
    by = Caller(mark=fleet.layout.mark("lander", 0), stopped=lambda: None, first=True)
    lander = Lander(fleet, Branch(fleet, by), by, random.Random(1))
    post = Post(owner=myself("hand"), number=None)
    worker = Worker(fleet, post, StopFlag(), random.Random(1))
    deadline = time.monotonic() + GIVE_UP_S
    while fleet.roster.counts().open and not enough(fleet):
        assert time.monotonic() < deadline, "the fleet does not come to an end"
        if control.read(fleet.controls).faulty:
            return
        taken = worker.claim()
        if taken is not None:
            worker.work(taken)
        elif not lander.turn():
            time.sleep(0.01)
    while not enough(fleet) and lander.turn():
        pass
