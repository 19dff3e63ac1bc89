"""A small fleet that has done its work, made once and copied for each test."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.gate.cleanroom import Caller
from fleet.landing.audit import audit, leftovers
from fleet.landing.branch import Branch
from fleet.landing.lander import Lander
from fleet.process.identity import myself
from fleet.process.stop import StopFlag
from fleet.wiring import Fleet, open_fleet
from fleet.worker.loop import Post, Worker
from fleet.worker.preflight import take_tasks
from tests.e2e.conftest import Repository, new_repository, writes

KEY = "sk-ant-api03-Wq7+rT/5vXy_Zk-0123456789/abcdefgh+IJKLMNOP"


@dataclass(frozen=True, slots=True)
class Audited:
    """A finished fleet, and what is found in it."""

    repository: Repository
    open: Callable[..., Fleet]

    def breaches(self, **variables: str) -> list[str]:
        fleet = self.open(**variables)
        try:
            return [str(breach) for breach in audit(fleet)]
        finally:
            fleet.close()

    def broken(self, **variables: str) -> set[str]:
        """The invariants that are breached."""
        return {breach.partition(":")[0] for breach in self.breaches(**variables)}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks that landed, and one that failed."""
    folder = tmp_path_factory.mktemp("finished")
    made = new_repository(folder)
    made.tasks(
        {"id": "one", "prompt": writes("one.txt", "one"), "budget_usd": 2.0},
        {"id": "two", "prompt": writes("two.txt", "two")},
        {"id": "bad", "prompt": writes("bad.txt", "bad"), "max_attempts": 1},
    )
    work_through(open_fleet(made.path, made.env))
    return folder


def work_through(fleet: Fleet) -> None:
    """Worker and lander in this process: a run without what it costs to start one."""
    take_tasks(fleet)
    rng, stop = random.Random(1), StopFlag()
    by = Caller(mark=fleet.layout.mark("lander", 1), stopped=lambda: None, first=True)
    lander = Lander(fleet, Branch(fleet, by), by, rng)
    worker = Worker(fleet, Post(owner=myself("worker"), number=None), stop, rng)
    while (taken := worker.claim()) is not None:
        worker.work(taken)
        while lander.turn():
            pass
    states = {view.task.id: view.state for view in fleet.roster.tasks()}
    assert states == {"one": "merged", "two": "merged", "bad": "failed"}
    fleet.close()


@pytest.fixture
def audited(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audited:
    monkeypatch.setattr(leftovers, "AGAIN_S", 0.02)
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True, symlinks=True)
    path = tmp_path / "project"
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def reopen(**variables: str) -> Fleet:
        return open_fleet(path, {**environ, **variables})

    return Audited(Repository(path=path, env=environ), reopen)
