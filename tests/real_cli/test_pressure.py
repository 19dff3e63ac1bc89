"""Every real agent with a provider that pushes back: none hears of it, no task is lost, and no call
is made that was not needed. `FLEET_PRESSURE_S=120` waits as long as real providers ask for, and
`FLEET_WINDOW_S=600` parks as long as a window may be shut."""

from __future__ import annotations

import json
import os
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.conftest import Repository
from tests.e2e.provider import bash, says
from tests.real_cli.clis import wire
from tests.real_cli.test_every_cli import Cli, each, prepare

PROFILES = Path(__file__).parents[2] / "agents"
CLOCKS_S = 0.01  # a row's time is taken from two clocks
WINDOW_S = float(os.environ.get("FLEET_WINDOW_S", "5"))
WAIT_S = float(os.environ.get("FLEET_PRESSURE_S", "2"))
STEPS = (bash("echo done > one.txt"), says("Did it."))
REFUSALS: dict[str, dict[str, object]] = {
    "429, with a time": {"error": 429, "retry_after": WAIT_S},
    "429, without": {"error": 429},
    "529": {"error": 529},
}


@pytest.mark.parametrize("refusal", REFUSALS)
@each(quick=("claude",))
def test_no_agent_hears_that_its_provider_pushed_back(
    repository: Repository, cli: Cli, refusal: str
) -> None:
    prepare(repository, cli, *STEPS, first={"turn": 2, "times": 1, **REFUSALS[refusal]})
    done = repository.fleet("run", timeout=WAIT_S + 90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.on_main("one.txt") == "done"
    calls, requests = wire(repository)
    status = int(refusal[:3])
    assert [call.status for call in calls].count(status) == 1
    assert {request.status for request in requests} == {200}
    assert len(calls) == len(requests) + 1
    if "with a time" in refusal:
        times = sorted((call.at, call.status) for call in calls)
        (gap,) = [after - at for (at, was), (after, _) in pairwise(times) if was == 429]
        assert gap >= WAIT_S - CLOCKS_S


@each(quick=("claude", "codex"))
def test_an_agent_that_would_wait_too_long_is_parked_and_takes_up_its_work(
    repository: Repository, cli: Cli
) -> None:
    """A window that opens again: its agent is stopped, and goes on at the time, as the same try."""
    prepare(
        repository,
        cli,
        *STEPS,
        first={"turn": 2, "times": 1, "error": 429, "retry_after": WINDOW_S},
    )
    text = (repository.path / "fleet.toml").read_text()
    repository.write("fleet.toml", text + '\n[proxy]\nhold_max = "1s"\n')
    repository.commit("wait no longer than a second")
    done = repository.fleet("run", timeout=WINDOW_S + 115)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(repository.fleet("task", "show", "a", "--json").stdout)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["parked", "merged"]
    (listed,) = json.loads(repository.fleet("task", "list", "--json").stdout)
    assert listed["attempts"] == 1
    assert repository.on_main("one.txt") == "done"
    calls, _ = wire(repository)
    times = sorted((call.at, call.status) for call in calls)
    (gap,) = [after - at for (at, was), (after, _) in pairwise(times) if was == 429]
    assert gap >= WINDOW_S - CLOCKS_S


@each(quick=("claude",))
def test_an_agent_whose_money_is_spent_stops_at_once_and_its_task_says_why(
    repository: Repository, cli: Cli
) -> None:
    """Each in its own words: 429 `billing_error`, `insufficient_quota`, a daily quota."""
    prepare(repository, cli, *STEPS)
    profile = tomllib.loads((PROFILES / f"{cli.agent}.toml").read_text())
    text = (repository.path / "fleet.toml").read_text()
    price = f'\n[proxy.prices."{profile["model"]}"]\ninput = 3\noutput = 15\n'
    repository.write("fleet.toml", f"{text}{price}[budget]\ntask_usd = 0.000001\n")
    repository.commit("hardly any money")
    done = repository.fleet("run", timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    shown = json.loads(repository.fleet("task", "show", "a", "--json").stdout)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["overspent"]
    calls, requests = wire(repository)
    assert [call for call in calls if call.endpoint == cli.endpoint] == []
    refused = [request for request in requests if request.status == 429]
    assert 1 <= len(refused) <= 3  # a title and a check may go beside the first turn
