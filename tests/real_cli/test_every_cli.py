"""What every real agent must do in a whole run: land, give up, survive a cut, be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.core.traffic import Ended
from fleet.store import sessions
from fleet.store.database import Database
from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, bash, configure, says, script, started
from tests.e2e.test_supervision import _children, marked_processes, until, worker_pids
from tests.real_cli.clis import needs, wire


@dataclass(frozen=True, slots=True)
class Cli:
    agent: str
    program: str
    endpoint: str
    tells: bool = True  # of its turns, its tool calls and its session
    resumes: bool = True


CLIS = (
    Cli("claude-bare", "claude", "messages"),
    Cli("claude", "claude", "messages"),
    Cli("codex", "codex", "responses"),
    Cli("qwen", "qwen", "chat"),
    Cli("opencode", "opencode", "chat"),
    Cli("gemini", "gemini", "generate"),
    Cli("mini-swe", "mini", "chat", tells=False, resumes=False),
)


def each(*, quick: Collection[str]) -> pytest.MarkDecorator:
    """All of them; those that are not quick in the long suite only."""
    found = []
    for cli in CLIS:
        marks = needs(cli.program) + ([] if cli.agent in quick else [pytest.mark.long])
        found.append(pytest.param(cli, id=cli.agent, marks=marks))
    return pytest.mark.parametrize("cli", found)


ASKED = "Do the one thing"
WORDS = {"text": "I have done all that you asked for, as you will see."}
NOTHING: Mapping[str, object] = {}


def prepare(
    repository: Repository,
    cli: Cli,
    *steps: dict[str, object],
    first: Mapping[str, object] = NOTHING,
) -> None:
    """`first`: a rule that comes before the steps."""
    repository.write("model.toml", script({ASKED: steps}, *([first] if first else ())))
    configure(repository, upstream=SCRIPTED, agents=1, agent=cli.agent)
    repository.tasks({"id": "a", "prompt": f"{ASKED}.", "max_attempts": 2})


def story(repository: Repository) -> dict[str, object]:
    shown = json.loads(repository.fleet("task", "show", "a", "--json").stdout)
    told = shown["attempts"][-1]["story"]
    assert isinstance(told, dict)
    return told


@each(quick=("claude", "claude-bare", "codex", "qwen"))
def test_its_work_lands_and_is_told_of(repository: Repository, cli: Cli) -> None:
    prepare(repository, cli, bash("echo done > one.txt"), says("Did it."))
    done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.on_main("one.txt") == "done"
    calls, requests = wire(repository)
    assert len(calls) == len(requests)
    assert len(requests) >= 2
    assert cli.endpoint in {request.endpoint for request in requests}
    if cli.tells:
        told = story(repository)
        assert (told["turns"], told["tool_calls"], told["ended"]) == (2, 1, True)
        assert (told["said"], told["error"]) == ("Did it.", "")
        assert told["session"]
        usage = told["usage"]
        assert isinstance(usage, dict)
        assert usage["input"] > 1000
    assert marked_processes(repository) == []
    assert repository.audit() == ""


@each(quick=("codex",))
def test_words_without_a_change_are_no_success(repository: Repository, cli: Cli) -> None:
    prepare(repository, cli, says("I have done it all."))
    repository.tasks({"id": "a", "prompt": f"{ASKED}.", "max_attempts": 1})
    done = repository.fleet("run", timeout=180)
    assert done.returncode == 1, done.stdout + done.stderr
    assert repository.states() == {"a": "failed"}
    assert "changed nothing" in repository.reason("a")


@each(quick=("claude-bare", "codex"))
def test_a_model_that_refuses_is_no_success_and_its_words_are_told(
    repository: Repository, cli: Cli
) -> None:
    refuses = {"prompt": ASKED, "error": 400, "message": "no such thing here"}
    prepare(repository, cli, says("Did it."), first=refuses)
    repository.tasks({"id": "a", "prompt": f"{ASKED}.", "max_attempts": 1})
    done = repository.fleet("run", timeout=180)
    assert done.returncode == 1, done.stdout + done.stderr
    assert repository.states() == {"a": "failed"}
    if cli.tells:
        assert "no such thing here" in repository.reason("a")
        assert story(repository)["error"]
    calls, _ = wire(repository)
    assert {call.ended for call in calls} == {Ended.REFUSED}


@each(quick=("claude-bare", "codex"))
def test_a_stream_that_is_cut_costs_a_call_and_no_task(repository: Repository, cli: Cli) -> None:
    broken = {"prompt": ASKED, "turn": 2, "times": 1, "cut": "midway", "pieces": 6}
    prepare(repository, cli, bash("echo done > one.txt"), says("Did it."), first=broken | WORDS)
    done = repository.fleet("run", timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.on_main("one.txt") == "done"
    calls, _ = wire(repository)
    assert [call.ended for call in calls].count(Ended.COMPLETE) == len(calls) - 1


def at_work(repository: Repository) -> Callable[[], bool]:
    def look() -> bool:
        places = (repository.path.parent / "cache").glob("fleet/project-*/a.[0-9]*")
        return any((place / "work/begun.txt").exists() for place in places)

    return look


def sleepers() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if words.startswith(b"sleep\x0077.7"):
            found.append(int(entry.name))
    return found


@each(quick=("claude", "codex"))
def test_killed_within_a_tool_call_it_leaves_nothing_and_goes_on(
    repository: Repository, cli: Cli
) -> None:
    waits = "test -e begun.txt || { echo begun > begun.txt; sleep 77.7; }; echo done > one.txt"
    again = [bash(waits)] * 3  # CLIs differ in what they make of the turn that was cut off
    prepare(repository, cli, *again, says("Did it."))
    with started(repository, "run") as run:
        until(at_work(repository), seconds=40)
        first = _session(repository)
        (pid,) = [pid for pid in worker_pids(repository) if _children(pid)]
        os.kill(pid, signal.SIGKILL)
        try:
            said, _ = run.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            run.terminate()
            raise
    assert run.returncode == 0, said
    assert repository.on_main("one.txt") == "done"
    shown = json.loads(repository.fleet("task", "show", "a", "--json").stdout)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["abandoned", "merged"]
    if cli.resumes:
        assert first
        assert story(repository)["session"] == first
    assert marked_processes(repository) == []
    assert sleepers() == []
    assert repository.audit() == ""


def _session(repository: Repository) -> str:
    """As it stands in the ledger while the agent is at work."""
    with closing(Database(repository.path / ".git/fleet/state.db", read_only=True)) as db:
        found = sessions.find(db, "a", 1)
    return found.id if found is not None else ""
