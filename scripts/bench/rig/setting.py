"""What every lane stands on: the upstream, folders, and the proof that a lane answers rightly."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scripts.bench.rig.client import Plain
from scripts.bench.rig.processes import NotStarted, Processes, tail
from scripts.bench.rig.target import Target, Upstream

TOP = Path(__file__).resolve().parents[3]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    processes: Processes
    upstream: Upstream
    folder: Path  # of this run
    peers: Path  # where other gateways are installed, and stay
    install: bool = False  # also those that take minutes


# Gives targets that have answered rightly, or raises `NotStarted`, which says why.
Lane = Callable[[Rig], list[Target]]


@contextmanager
def a_rig(folder: Path, peers: Path, *, install: bool = False) -> Iterator[Rig]:
    """The upstream runs; it and all that lanes start end with the block."""
    with Processes() as processes:
        upstream = Upstream(*own_server(processes, folder, "mock"))
        yield Rig(
            processes=processes, upstream=upstream, folder=folder, peers=peers, install=install
        )


def own_server(processes: Processes, folder: Path, name: str, *words: str) -> tuple[int, int]:
    """A module of the rig in a process of its own: its port and its id."""
    log = folder / f"{name}.log"
    argv = [sys.executable, "-m", f"scripts.bench.rig.{name}", *words]
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    process = processes.start(argv, log=log, env=env, cwd=TOP)
    port = wait(lambda: re.match(r"(\d+)\n", log.read_text()), process, log, seconds=20)
    return int(port[1]), process.pid


def started(lanes: Mapping[str, Lane], rig: Rig) -> tuple[list[Target], dict[str, str]]:
    """All that can be measured, and why the others cannot."""
    targets: list[Target] = []
    absent = {}
    for name, lane in lanes.items():
        print(f"starting {name}…", file=sys.stderr, flush=True)
        try:
            targets += lane(rig)
        except NotStarted as why:
            absent[name] = str(why)
    return targets, absent


def wait(
    look: Callable[[], Found | None], process: subprocess.Popen[bytes], log: Path, *, seconds: float
) -> Found:
    """What `look` finds in the end."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError, ValueError):
            found = look()
            if found:
                return found
        if process.poll() is not None:
            raise NotStarted(f"it ended with {process.returncode}: {tail(log)}")
        time.sleep(0.02)
    raise NotStarted(f"it was not ready after {seconds:.0f} s: {tail(log)}")


def ready(
    target: Target, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 15
) -> Target:
    """It answers, and rightly."""
    wait(lambda: answers(target), process, log, seconds=seconds)
    return target


def answers(target: Target) -> bool:
    line = Plain(target)
    try:
        return line.ask(target.template(2000).fill(7), 7)[1]
    finally:
        line.close()


def free_port() -> int:
    """For programs that cannot say which one they took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
