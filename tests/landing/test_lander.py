"""The lander's turns on a real repository, in this process."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.task import TaskState
from fleet.gate.cleanroom import Caller
from fleet.landing.audit import audit
from fleet.landing.branch import Branch
from fleet.landing.lander import Lander
from fleet.wiring import Fleet, open_fleet
from tests.e2e.conftest import Repository, new_repository, writes


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = new_repository(tmp_path)
    made.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    made.commit("tasks")
    assert made.fleet("worker").returncode == 0
    assert made.states() == {"a": "submitted"}
    return made


@pytest.fixture
def fleet(repository: Repository) -> Iterator[Fleet]:
    opened = open_fleet(repository.path, repository.env)
    yield opened
    opened.close()


def a_caller(fleet: Fleet) -> Caller:
    return Caller(mark=fleet.layout.mark("lander", os.getpid()), stopped=lambda: None, first=True)


def a_branch(fleet: Fleet) -> Branch:
    return Branch(fleet, a_caller(fleet))


def a_lander(fleet: Fleet) -> Lander:
    return Lander(fleet, a_branch(fleet), a_caller(fleet), random.Random(1))


def state(fleet: Fleet) -> tuple[TaskState, str]:
    (view,) = fleet.roster.tasks()
    return view.state, view.reason


def test_a_landing_that_came_true_after_all_is_recorded(
    repository: Repository, fleet: Fleet
) -> None:
    """A git has outlived the lander that was killed: it moved the branch after the next lander had
    found the plan to be void."""
    (entry,) = fleet.queue.waiting()
    lander = a_lander(fleet)
    assert a_branch(fleet).look() is not None
    fleet.target.send(fleet.hub, entry.merge)
    repository.git("update-ref", "refs/heads/main", entry.merge)
    repository.git("reset", "-q", "--hard")
    while lander.turn():
        pass
    assert state(fleet) == (TaskState.MERGED, "")
    assert [landing.commit for landing in fleet.queue.landings()] == [entry.merge]
    assert audit(fleet) == []
