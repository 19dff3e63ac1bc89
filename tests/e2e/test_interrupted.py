"""Attempts that are cut short, and what the next one finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, configure, says, script, started
from tests.e2e.test_supervision import (
    _children,
    in_state,
    marked_processes,
    until,
    worker_pids,
)

# Stands for a CLI with sessions: its first run leaves half of the work and never ends. What it was
# told is kept in its HOME, as such programs do.
AGENT = """\
import json, os, signal, sys, time
from pathlib import Path
words, prompt = sys.argv[1:], sys.stdin.read()
def tell(**event):
    print(json.dumps(event), flush=True)
kept = Path(os.environ["HOME"], ".sessions")
if words[0] == "--resume":
    if words[1] == "unheard-of" or not kept.exists() or kept.read_text() != words[1]:
        print("No conversation found")
        sys.exit(1)
    Path("second.txt").write_text(f"{words[1]}\\n{prompt}")
    tell(type="system", subtype="init", session_id=words[1])
    tell(type="assistant", message={"id": "m", "content": [{"type": "text", "text": "Done."}]})
    sys.exit(0)
if Path("first.txt").exists():
    Path("second.txt").write_text(f"afresh {words[1]}\\n{prompt}")
    sys.exit(0)
tell(type="system", subtype="init", session_id=words[1])
Path("first.txt").write_text(words[1])
Path(".git/index.lock").touch()  # as a git that was killed would
if "forgets" not in prompt:
    kept.write_text(words[1])
while True:
    time.sleep(1)
"""
PROFILE = """\
command = ["{{python}}", "{{agents}}/taker.py", "--session", "{{session}}"]
{resume}
output = "claude"
api = ["anthropic"]
"""
RESUME = 'resume = ["{python}", "{agents}/taker.py", "--resume", "{session}"]'


def prepare(repository: Repository, prompt: str, *, resume: str = RESUME) -> None:
    repository.write("model.toml", script({"anything": [says()]}))
    repository.write("agents/taker.py", AGENT)
    repository.write("agents/taker.toml", PROFILE.format(resume=resume))
    configure(repository, upstream=SCRIPTED, agents=1, agent="taker")
    repository.tasks({"id": "a", "prompt": prompt})


def workspaces(repository: Repository) -> list[Path]:
    return sorted((repository.path.parent / "cache").glob("fleet/project-*/a.[0-9]*"))


def begun(repository: Repository) -> Callable[[], bool]:
    def look() -> bool:
        return any((place / "work/.git/index.lock").exists() for place in workspaces(repository))

    return look


def kill_worker(repository: Repository, run: subprocess.Popen[str]) -> None:
    (pid,) = [pid for pid in worker_pids(repository) if _children(pid)]
    os.kill(pid, signal.SIGKILL)


def stop(repository: Repository, run: subprocess.Popen[str]) -> None:
    assert repository.fleet("stop", "--now").returncode == 0


def kill_all(repository: Repository, run: subprocess.Popen[str]) -> None:
    run.kill()
    kill_worker(repository, run)


@pytest.mark.parametrize("how", [kill_worker, stop, kill_all])
def test_a_session_goes_on_in_its_workspace(
    repository: Repository, how: Callable[[Repository, subprocess.Popen[str]], None]
) -> None:
    prepare(repository, "Do it all.")
    with started(repository, "run") as run:
        until(begun(repository))
        how(repository, run)
        said, _ = run.communicate(timeout=60)
    if how is not kill_worker:
        assert repository.states() == {"a": "pending"} or how is kill_all, said
        assert repository.fleet("run").returncode == 0
    assert repository.states() == {"a": "merged"}
    session = repository.on_main("first.txt")
    named, _, prompt = repository.on_main("second.txt").partition("\n")
    assert named == session
    assert prompt.startswith("You were interrupted")
    shown = json.loads(repository.fleet("task", "show", "a", "--json").stdout)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["abandoned", "merged"]
    told = shown["attempts"][1]["story"]
    assert (told["session"], told["turns"], told["said"]) == (session, 1, "Done.")
    page = repository.fleet("task", "show", "a").stdout
    assert f"1 turn, 0 tool calls; session {session}" in page
    assert workspaces(repository) == []
    assert marked_processes(repository) == []
    assert repository.audit() == ""


def test_a_session_its_program_does_not_know_is_begun_again_in_its_workspace(
    repository: Repository,
) -> None:
    prepare(repository, "One who forgets.")
    with started(repository, "run") as run:
        until(begun(repository))
        kill_worker(repository, run)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    named, _, prompt = repository.on_main("second.txt").partition("\n")
    assert named.startswith("afresh ")
    assert named != f"afresh {repository.on_main('first.txt')}"
    assert "One who forgets." in prompt
    assert "Somebody began with this task" in prompt


def test_an_agent_without_sessions_finds_the_work_it_was_killed_over(
    repository: Repository,
) -> None:
    prepare(repository, "Do it all.", resume="")
    with started(repository, "run") as run:
        until(begun(repository))
        kill_worker(repository, run)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert "Somebody began with this task" in repository.on_main("second.txt")


def test_what_was_kept_for_a_task_that_is_cancelled_is_removed(repository: Repository) -> None:
    prepare(repository, "Do it all.")
    with started(repository, "run") as run:
        until(begun(repository))
        stop(repository, run)
        run.communicate(timeout=60)
    assert len(workspaces(repository)) == 1
    assert repository.fleet("task", "cancel", "a").returncode == 0
    repository.tasks(
        {"id": "a", "prompt": "Do it all."}, {"id": "b", "agent": "echo", "prompt": "@sleep 0"}
    )
    repository.fleet("run")
    assert workspaces(repository) == []
    assert in_state(repository, "a", "cancelled")()
