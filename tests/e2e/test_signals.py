"""Signals: three Ctrl-Cs, a SIGTERM's patience, and processes that are stopped for a while."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import CONFIG, Repository, writes
from tests.e2e.ledger import is_in, outcomes, states, stopped, told
from tests.e2e.test_supervision import (
    _children,
    marked_processes,
    state_folder,
    until,
    worker_pids,
)

# `fleet run` of one worker, with less patience than people have.
IMPATIENT = """
import asyncio, os, sys
from pathlib import Path
from fleet.coordinator import Coordinator
from fleet.wiring import open_fleet
from fleet.worker.preflight import take_tasks
fleet = open_fleet(Path.cwd(), os.environ)
take_tasks(fleet)
run = Coordinator(fleet, agents=1, environ=os.environ, tell=lambda event: None, drain_s=1.0)
ended = asyncio.run(run.run())
sys.exit(130 if ended.interrupted else 0)
"""


def one_agent(repository: Repository) -> None:
    repository.write("fleet.toml", CONFIG.format(agents=1, commands='["python3 check.py"]'))


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.mark.long
def test_three_ctrl_cs_leave_at_once_and_the_next_run_goes_on(repository: Repository) -> None:
    one_agent(repository)
    repository.tasks({"id": "a", "prompt": "@sleep 4\n" + writes("a.txt", "a")})
    with repository.start("run") as run:
        until(is_in(repository, "a", "running"))
        for _ in range(3):
            run.send_signal(signal.SIGINT)
            wait(0.2)
        assert run.wait(30) == 130
        assert run.stdout is not None
        run.stdout.read()
    assert repository.fleet("run").returncode == 0
    assert states(repository) == {"a": "merged"}
    assert marked_processes(repository) == []


def test_a_sigterm_waits_for_agents_only_so_long(repository: Repository) -> None:
    one_agent(repository)
    repository.tasks({"id": "a", "prompt": writes("a.txt", "half", "@sleep 60")})
    with subprocess.Popen(
        [sys.executable, "-c", IMPATIENT], cwd=repository.path, env=repository.env
    ) as run:
        until(lambda: marked_processes(repository))
        run.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert run.wait(45) == 130  # its agent would take a minute
        assert time.monotonic() - began >= 1.0
    assert marked_processes(repository) == []
    assert states(repository) == {"a": "pending"}
    assert outcomes(repository, "a") == ["abandoned"]


def test_a_coordinator_that_is_stopped_loses_nothing_and_wakes_up_to_what_is_true(
    repository: Repository,
) -> None:
    """Its workers go on; nobody takes its place, since its lock is held; and once it goes on it
    ends the run as it finds it."""
    repository.tasks(*({"id": f"t{n}", "prompt": writes(f"{n}.txt", "x")} for n in range(4)))
    with repository.start("run") as run:
        until(lambda: told(repository).count("worker-started") == 3)  # the lander too
        with stopped(repository, run.pid):
            until(lambda: set(states(repository).values()) == {"merged"}, seconds=60.0)
            second = repository.fleet("run")
            assert (second.returncode, f"pid {run.pid}" in second.stderr) == (75, True)
        assert run.wait(60) == 0
        assert run.stdout is not None
        run.stdout.read()
    assert all(outcomes(repository, f"t{n}") == ["merged"] for n in range(4))
    assert told(repository).count("run-ended") == 1


def test_a_worker_that_is_stopped_past_its_time_keeps_its_task(repository: Repository) -> None:
    """The other one does not take it, however long: the lock is held. On waking the worker finds
    the time of its agent over."""
    repository.tasks(
        {"id": "a", "timeout": "2s", "prompt": "@on 1\n@sleep 60\n@on 2\n" + writes("a.txt", "a")},
        {"id": "b", "prompt": writes("b.txt", "b")},
        {"id": "c", "depends_on": ["b"], "prompt": writes("c.txt", "c")},
    )
    with repository.start("run") as run:
        until(lambda: any(_works_on("a", pid) for pid in worker_pids(repository)))
        (worker,) = [pid for pid in worker_pids(repository) if _works_on("a", pid)]
        with stopped(repository, worker):
            until(is_in(repository, "c", "merged"), seconds=60.0)
            wait(2.5)
            assert (states(repository)["a"], outcomes(repository, "a")) == ("running", ["None"])
        assert run.wait(60) == 0
        assert run.stdout is not None
        run.stdout.read()
    assert outcomes(repository, "a") == ["timeout", "merged"]
    assert (state_folder(repository) / "claims" / "a.lock").exists()


def _works_on(task: str, worker: int) -> bool:
    """Whether an agent for this task is below that worker."""
    wanted = f"FLEET_TASK={task}".encode()
    return any(wanted in _environ(pid).split(b"\0") for pid in _children(worker))


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
