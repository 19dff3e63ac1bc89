"""Trees that do not want to end, on each rung: how many processes outlive them, and how long.

    scripts/hostile-trees [--trees 200] [--rungs namespace cgroup sweep] [--seed 1]

Every other tree loses its supervisor to kill -9 at a random moment; then the next claimer's sweep
comes, as it does in a fleet. Survivors are counted by a token on their command lines.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleet.process import cgroup
from fleet.process.sandbox.bubblewrap import find
from fleet.process.sandbox.sandbox import NO_WALLS, climb
from fleet.process.sandbox.view import WORKSPACE, Allowed, Bind, View
from fleet.process.supervise import supervise
from fleet.process.tree import ATTEMPT_MARK, become_subreaper, kill_tree

HOSTILE = Path(__file__).parents[1] / "process" / "hostile.py"
RUNGS = ("namespace", "cgroup", "sweep")
KINDS = ("plain", "own_session", "daemon", "deaf", "respawner", "pair", "headless", "potato")
HIDDEN = ("cleared",)  # without a mark or a parent: the sweep's known gap once its subreaper died
READY_S, GONE_S = 60.0, 5.0
STAY_S = 0.6  # at most, before it is ended


@dataclass(slots=True)
class Found:
    trees: int = 0
    killed_supervisors: int = 0
    survivors: Counter[str] = field(default_factory=Counter)  # by how the tree was ended
    seconds: list[float] = field(default_factory=list)  # from the end to nobody left


def lacking(rung: str) -> str:
    """Why this rung cannot be tried here, or ""."""
    if rung == "namespace" and find(os.environ["PATH"]) is None:
        return "bubblewrap is not here, or not allowed to work"
    if rung == "cgroup" and cgroup.base() is None:
        return "there is no control group that we may write"
    return ""


def try_rung(rung: str, trees: int, rng: random.Random) -> Found:
    become_subreaper()
    found = Found()
    with tempfile.TemporaryDirectory(prefix="fleet-trees-") as folder:
        for number in range(trees):
            is_killed = number % 2 == 1
            _one(rung, Path(folder, str(number)), found, rng, is_killed=is_killed)
    return found


def _one(rung: str, place: Path, found: Found, rng: random.Random, *, is_killed: bool) -> None:
    place.mkdir()
    token = uuid.uuid4().hex
    kinds = KINDS if rung == "sweep" and is_killed else KINDS + HIDDEN
    told = ("--supervise", rung, str(place), token, *kinds)
    with subprocess.Popen([sys.executable, "-m", "tests.chaos.hostile_trees", *told]) as child:
        _await_ready(place)
        time.sleep(rng.uniform(0, STAY_S))
        began = time.monotonic()
        child.send_signal(signal.SIGKILL if is_killed else signal.SIGTERM)
        child.wait()
    if is_killed:
        kill_tree(mark=ATTEMPT_MARK, value=_mark(token))
        found.killed_supervisors += 1
    left = _left(token, began)
    found.trees += 1
    found.seconds.append(time.monotonic() - began)
    found.survivors["killed" if is_killed else "stopped"] += len(left)
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def _await_ready(place: Path) -> None:
    until = time.monotonic() + READY_S
    said = place / "transcript.log"
    while not (said.exists() and b"ready" in said.read_bytes()):
        if time.monotonic() > until:
            raise TimeoutError(f"{place}: the tree never stood: {said.read_text()}")
        time.sleep(0.02)


def _left(token: str, began: float) -> list[int]:
    """Who is still there. The kernel may need a moment after it was told: no longer than this."""
    while (left := with_token(token)) and time.monotonic() - began < GONE_S:
        time.sleep(0.02)
    return left


def with_token(token: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if token.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def _mark(token: str) -> str:
    return f"trees/{token[:12]}.1"


def hold(rung: str, place: Path, token: str, kinds: list[str]) -> None:
    """What a worker does: starts a tree, and stops it when told to."""
    become_subreaper()
    if rung != "cgroup":
        cgroup.base = lambda: None  # type: ignore[assignment]
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    for name in ("work", "home", "tmp"):
        (place / name).mkdir()
    view = View(
        work=Bind(host=place / "work", inside=WORKSPACE, writable=True),
        home=place / "home",
        tmp=place / "tmp",
    )
    sandbox = NO_WALLS
    if rung == "namespace":
        sandbox = climb(os.environ["PATH"], private=(), allowed=Allowed())
    argv = [sys.executable, "-S", str(HOSTILE), token, "stay", *kinds]
    env = {"PATH": os.environ["PATH"]}
    view = replace(view, binds=sandbox.named(argv))
    command = sandbox.showing([Path(sys.executable)]).command(argv, view, env)
    supervise(
        command.argv,
        rung=command.rung,
        cwd=place / "work",
        env=env,
        mark=_mark(token),
        transcript=place / "transcript.log",
        wall_s=120.0,
        stall_s=None,
        grace_s=0.2,
        should_stop=lambda: "told to" if told else None,
    )


def table(found: dict[str, Found]) -> str:
    rows = [f"{'rung':<10} {'trees':>6} {'killed -9':>9} {'survivors':>9} {'p50':>7} {'max':>7}"]
    for rung, each in found.items():
        took = sorted(each.seconds)
        rows.append(
            f"{rung:<10} {each.trees:>6} {each.killed_supervisors:>9} "
            f"{each.survivors.total():>9} {took[len(took) // 2]:>6.3f}s {took[-1]:>6.3f}s"
        )
    return "\n".join(rows)


def main() -> int:
    if sys.argv[1:2] == ["--supervise"]:
        rung, place, token, *kinds = sys.argv[2:]
        hold(rung, Path(place), token, kinds)
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=list(RUNGS))
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    found = {}
    for rung in chosen.rungs:
        why = lacking(rung)
        if why:
            sys.stdout.write(f"{rung}: not tried: {why}\n")
            continue
        found[rung] = try_rung(rung, chosen.trees, random.Random(chosen.seed))
    sys.stdout.write(table(found) + "\n")
    return 1 if any(each.survivors.total() for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
