"""Whole runs whose provider pushes back, fails, or costs too much."""

from __future__ import annotations

import contextlib
import json

from fleet.core.event import Event, Kind
from fleet.store.database import Database
from fleet.store.events import since
from tests.e2e.conftest import Repository
from tests.e2e.provider import (
    Provider,
    a_provider,
    bash,
    books,
    configure,
    retries,
    says,
    script,
    started,
)
from tests.e2e.test_supervision import until

NANO = 1_000_000_000
PRICES = """
[proxy.prices."claude-sonnet-4-5"]
input = 3
output = 15
"""


def task(id_: str, **more: object) -> dict[str, object]:
    return {"id": id_, "prompt": f"Write {id_}.txt now.", **more}


def work(*ids: str, **more: object) -> dict[str, list[dict[str, object]]]:
    """Each task is a command and a word."""
    return {f"Write {id_}.txt now": [bash(f"echo done > {id_}.txt", **more), says()] for id_ in ids}


def events(repository: Repository, kind: Kind) -> list[Event]:
    """Also while fleet.toml is broken, when commands have nothing to say."""
    with contextlib.closing(
        Database(repository.path / ".git/fleet/state.db", read_only=True)
    ) as db:
        return [event for event in since(db, 0) if event.kind is kind]


def shown(repository: Repository, id_: str) -> dict[str, object]:
    found = json.loads(repository.fleet("task", "show", id_, "--json").stdout)
    assert isinstance(found, dict)
    return found


def tries(repository: Repository) -> dict[str, int]:
    listed = json.loads(repository.fleet("task", "list", "--json").stdout)
    return {entry["id"]: entry["attempts"] for entry in listed}


def outcomes(repository: Repository, id_: str) -> list[str]:
    attempts = shown(repository, id_)["attempts"]
    assert isinstance(attempts, list)
    return [each["outcome"] for each in attempts]


# -- limits -------------------------------------------------------------------------------------


def test_no_agent_hears_of_a_429_and_no_call_is_made_before_its_time(
    repository: Repository,
) -> None:
    ids = [f"t{number}" for number in range(8)]
    repository.tasks(*map(task, ids))
    busy = {"name": "busy", "when": "Write", "times": 3, "error": 429, "retry_after": 1}
    with a_provider(script(work(*ids), busy)) as provider:
        configure(repository, upstream=provider.upstream(), agents=8)
        done = repository.fleet("run", timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        assert provider.calls["busy"] == 3
        asked = [each.at for each in provider.asked]
    first = asked[0]
    assert [at for at in asked if first + 0.5 < at < first + 1.0] == []
    assert retries(repository) == 0
    assert set(repository.states().values()) == {"merged"}
    assert len(asked) == 3 + 2 * len(ids)


def test_an_attempt_that_would_wait_too_long_is_parked_and_goes_on_where_it_was(
    repository: Repository,
) -> None:
    repository.tasks(task("long"))
    steps = {
        "Write long": [
            bash("cat half.txt && mv half.txt whole.txt || echo half > half.txt"),
            says(),
        ]
    }
    busy = {"turn": 2, "times": 1, "error": 429, "retry_after": 4}
    with a_provider(script(steps, busy)) as provider:
        configure(
            repository,
            upstream=provider.upstream(),
            agents=1,
            more='\n[proxy]\nhold_max = "1s"\n',
        )
        with started(repository, "run") as run:
            until(lambda: repository.states() == {"long": "parked"})
            status = repository.fleet("status").stdout
            assert "1 parked" in status
            assert "the provider's limit" in status
            said, _ = run.communicate(timeout=60)
        assert run.returncode == 0, said
    assert outcomes(repository, "long") == ["parked", "merged"]
    assert repository.on_main("whole.txt") == "half"  # what it had done was there
    (parked,), (unparked,) = events(repository, Kind.PARKED), events(repository, Kind.UNPARKED)
    assert unparked.at >= parked.number - 0.001
    assert tries(repository) == {"long": 1}  # being parked is none


def test_a_used_up_subscription_pauses_the_fleet_and_a_persons_stop_outlives_it(
    repository: Repository,
) -> None:
    """Two tasks, one worker: the second is not begun before the window is open again, and after
    a `stop` not even then."""
    repository.tasks(task("one"), task("two"))
    used_up = {
        "times": 1,
        "error": 429,
        "error_type": "usage_limit_reached",
        "message": "try again in 7s",
    }
    with a_provider(script(work("one", "two"), used_up)) as provider:
        configure(
            repository,
            upstream=provider.upstream(),
            agents=1,
            more='\n[proxy]\nhold_max = "0.5s"\n',
        )
        with started(repository, "run") as run:
            until(lambda: "until" in repository.fleet("status").stdout)
            assert "paused: until" in repository.fleet("status").stdout
            assert repository.states() == {"one": "parked", "two": "pending"}
            assert repository.fleet("stop").returncode == 0
            run.communicate(timeout=60)
        assert run.returncode == 1
        asked = len(provider.asked)
        done = repository.fleet("run", timeout=60)  # waits for the rest of the window
        assert done.returncode == 0, done.stdout + done.stderr
        assert asked == 1
        assert provider.asked[1].at >= provider.asked[0].at + 7.0
    assert set(repository.states().values()) == {"merged"}


# -- money --------------------------------------------------------------------------------------


def spending(provider: Provider, **budget: float) -> dict[str, str]:
    lines = "".join(f"{name} = {value}\n" for name, value in budget.items())
    return {"upstream": provider.upstream(), "more": f"{PRICES}\n[budget]\n{lines}"}


def test_a_task_whose_budget_is_spent_fails_and_the_others_land(repository: Repository) -> None:
    repository.tasks(task("dear", budget_usd=0.0001), task("cheap"))
    with a_provider(script(work("dear", "cheap"))) as provider:
        configure(repository, agents=2, **spending(provider, day_usd=50))
        done = repository.fleet("run", timeout=60)
        assert done.returncode == 1, done.stdout + done.stderr
    assert repository.states() == {"dear": "failed", "cheap": "merged"}
    assert outcomes(repository, "dear") == ["overspent"]
    assert "task dear has $0.0001" in repository.reason("dear")
    assert retries(repository) == 0  # its agent stopped at once


def test_a_spent_run_stops_without_failing_a_task_and_a_raised_budget_goes_on(
    repository: Repository,
) -> None:
    """An answer may cost half a dollar at most, and costs a cent: so two fit, not three."""
    ids = [f"t{number}" for number in range(4)]
    repository.tasks(*map(task, ids))
    dear = {"input": 1000, "output": 30_000}
    steps = work(*ids, usage=dear)
    with a_provider(script(steps)) as provider:
        configure(repository, agents=1, **spending(provider, run_usd=0.55))
        done = repository.fleet("run", timeout=60)
        assert done.returncode == 1
        assert "this run has $0.55" in done.stdout + done.stderr
        assert set(repository.states().values()) <= {"merged", "pending"}
        assert books(repository).cost <= 0.55 * NANO
        told = [event.reason for event in events(repository, Kind.BUDGET)]
        assert told[0].startswith("run: $0.")
        text = (repository.path / "fleet.toml").read_text()
        repository.write("fleet.toml", text.replace("run_usd = 0.55", "run_usd = 100"))
        repository.commit("raise it")
        again = repository.fleet("run", timeout=60)
        assert again.returncode == 0, again.stdout + again.stderr
    assert set(repository.states().values()) == {"merged"}
    costs = json.loads(repository.fleet("cost", "--json").stdout)
    assert costs["merged_tasks"] == 4
    assert costs["cost_nano_usd"] == books(repository).cost
    assert costs["set_aside_nano_usd"] == 0


def test_with_a_budget_a_model_without_a_price_is_refused_and_the_run_says_what_to_write(
    repository: Repository,
) -> None:
    repository.tasks(task("one", model="house-1"))
    with a_provider(script(work("one"))) as provider:
        more = "\n[budget]\nrun_usd = 5\n"
        configure(repository, upstream=provider.upstream(), agents=1, more=more)
        done = repository.fleet("run", timeout=60)
        assert done.returncode == 1
        assert provider.asked == []
    assert "proxy.prices" in done.stdout + done.stderr
    assert repository.states() == {"one": "pending"}


# -- circles ------------------------------------------------------------------------------------


def test_an_agent_that_makes_the_same_call_for_ever_is_stopped_with_that_reason(
    repository: Repository,
) -> None:
    repository.tasks(task("loop", max_attempts=1))
    for_ever = {"when": "", "tool": "bash", "input": {"command": "sleep 0.3; cat nothing.txt"}}
    with a_provider(script({}, for_ever)) as provider:
        more = "\n[loops]\nsame_call = 6\n"
        configure(repository, upstream=provider.upstream(), agents=1, more=more)
        done = repository.fleet("run", timeout=60)
        assert done.returncode == 1
        assert 6 <= len(provider.asked) <= 12
    assert outcomes(repository, "loop") == ["stuck"]
    assert "same tool call 6 times" in repository.reason("loop")


def test_an_agent_that_changes_no_file_for_many_turns_is_stopped_too(
    repository: Repository,
) -> None:
    repository.tasks(task("busy", max_attempts=1))
    turns = [bash(f"echo {turn}; sleep 0.1") for turn in range(200)]
    with a_provider(script({"Write busy": turns})) as provider:
        more = "\n[loops]\nturns_without_change = 10\n"
        configure(repository, upstream=provider.upstream(), agents=1, more=more)
        done = repository.fleet("run", timeout=90)
        assert done.returncode == 1
        assert len(provider.asked) < 100
    assert outcomes(repository, "busy") == ["stuck"]
    assert "no file has changed" in repository.reason("busy")


# -- settings -----------------------------------------------------------------------------------


def test_limits_are_changed_while_it_runs_and_a_broken_edit_is_refused_with_its_line(
    repository: Repository,
) -> None:
    ids = [f"t{number}" for number in range(4)]
    repository.tasks(*map(task, ids))
    with a_provider(script(work(*ids))) as provider:
        slow = "\n[[proxy.limits]]\nrequests_per_minute = 1\n"
        configure(repository, upstream=provider.upstream(), agents=1, more=slow)
        text = (repository.path / "fleet.toml").read_text()
        with started(repository, "run") as run:
            until(lambda: len(provider.asked) == 1)
            repository.write("fleet.toml", text.replace("minute = 1", 'minute = "many"'))
            until(lambda: events(repository, Kind.SETTINGS))
            (refused,) = events(repository, Kind.SETTINGS)
            line = text.splitlines().index("requests_per_minute = 1") + 1
            where = f"fleet.toml:{line}: requests_per_minute must be a number"
            assert where in refused.reason
            assert len(provider.asked) == 1  # the old limit holds
            repository.write("fleet.toml", text.replace("minute = 1", "minute = 6000"))
            said, _ = run.communicate(timeout=60)
        assert run.returncode == 0, said
    assert "taken over" in events(repository, Kind.SETTINGS)[-1].reason
    assert set(repository.states().values()) == {"merged"}
