"""What a flight saves a real agent: a second call, where the first one's answer is still there."""

from __future__ import annotations

import os
import signal
import tomllib

import httpx
import pytest
import tomli_w

from fleet.core.traffic import JOINED, LEADER, REPLAYED, Ended
from fleet.store import proxyfile
from fleet.store.layout import shipped_agents
from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, a_provider, bash, configure, says, script, started
from tests.e2e.test_supervision import _children, marked_processes, until, worker_pids
from tests.real_cli.clis import needs, wire
from tests.real_cli.relay import Relay, a_relay

ASKED = "Do the one thing"
BREAK = "MARK"
SLOW = says(f"{BREAK} and then a good many words, for the line to break within them.", pace=0.1)
CLAUDE, CODEX = (
    pytest.param(agent, marks=needs(agent.partition("-")[0])) for agent in ("claude-bare", "codex")
)


def behind(repository: Repository, agent: str, relay: Relay) -> None:
    """Its profile, with the relay where the proxy would be."""
    text = (shipped_agents() / f"{agent}.toml").read_text()
    profile = tomllib.loads(text.replace("{proxy}", f"{relay.url}/a/{{token}}"))
    if agent.startswith("claude"):
        profile["env"]["ANTHROPIC_BASE_URL"] = f"{relay.url}/a/{{token}}"
    repository.write(f"agents/{agent}.toml", tomli_w.dumps(profile))


@pytest.mark.parametrize("agent", [CLAUDE, CODEX])
def test_a_line_that_breaks_within_an_answer_costs_no_second_call(
    repository: Repository, agent: str
) -> None:
    repository.write("model.toml", script({ASKED: [bash("echo done > one.txt"), SLOW]}))
    with a_relay(repository.path / ".git/fleet/proxy.json", BREAK.encode()) as relay:
        behind(repository, agent, relay)
        configure(repository, upstream=SCRIPTED, agents=1, agent=agent)
        repository.tasks({"id": "a", "prompt": f"{ASKED}.", "max_attempts": 1})
        done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert relay.broken == 1
    assert repository.on_main("one.txt") == "done"
    calls, requests = wire(repository)
    assert [call.ended for call in calls] == [Ended.COMPLETE] * 2
    assert [request.gone for request in requests].count(True) == 1
    again = [request for request in requests if request.dedup in {JOINED, REPLAYED}]
    assert [request.call for request in again] == [calls[0].id]


@pytest.mark.parametrize("agent", [CLAUDE])
def test_two_whose_stream_breaks_off_ask_once_more_together(
    repository: Repository, agent: str
) -> None:
    broken = {"prompt": ASKED, "turn": 2, "times": 1, "cut": "midway", "pieces": 6}
    steps = [bash('echo done > "$FLEET_TASK.txt"; sleep 1'), SLOW]
    with a_provider(script({ASKED: steps}, broken | SLOW)) as provider:
        configure(repository, upstream=provider.upstream(), agents=2, agent=agent)
        repository.tasks(*({"id": id_, "prompt": f"{ASKED}."} for id_ in ("a", "b")))
        done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(provider.asked) == 3
    calls, requests = wire(repository)
    assert sorted(call.ended for call in calls) == [Ended.COMPLETE, Ended.COMPLETE, Ended.CUT]
    assert len(requests) == 6


@pytest.mark.parametrize("agent", [CLAUDE])
def test_one_of_two_that_is_killed_within_an_answer_takes_it_from_nobody(
    repository: Repository, agent: str
) -> None:
    slow = SLOW | {"pace": 0.4, "chars_per_piece": 4}
    steps = [bash('echo done > "$FLEET_TASK.txt"'), slow]
    with a_provider(script({ASKED: steps})) as provider:
        configure(repository, upstream=provider.upstream(), agents=2, agent=agent)
        repository.tasks(*({"id": id_, "prompt": f"{ASKED}."} for id_ in ("a", "b")))
        with started(repository, "run") as run:
            until(lambda: entered(repository, "inference") == 4, seconds=40)
            (one, _) = [pid for pid in worker_pids(repository) if _children(pid)]
            os.kill(one, signal.SIGKILL)
            said, _ = run.communicate(timeout=90)
    assert run.returncode == 0, said
    assert repository.states() == {"a": "merged", "b": "merged"}
    calls, requests = wire(repository)
    (lost,) = [request for request in requests if request.gone]
    (served,) = [each for each in requests if each.call == lost.call and not each.gone]
    assert {lost.dedup, served.dedup} == {LEADER, JOINED}
    assert {call.ended for call in calls} == {Ended.COMPLETE}
    assert marked_processes(repository) == []
    assert repository.audit() == ""


def entered(repository: Repository, room: str) -> float:
    """Requests that have come into that room of the proxy."""
    address = proxyfile.read(repository.path / ".git/fleet/proxy.json")
    if address is None:
        return 0
    try:
        answer = httpx.get(f"http://127.0.0.1:{address.metrics_port}/metrics", trust_env=False)
    except httpx.TransportError:
        return 0  # it does not listen yet
    name = f'fleet_proxy_room_entered_total{{room="{room}"}} '
    (line,) = [line for line in answer.text.splitlines() if line.startswith(name)]
    return float(line.removeprefix(name))
