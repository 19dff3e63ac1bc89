from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fleet.process.tree import ATTEMPT_MARK
from fleet.store.claims import is_held
from tests.e2e.conftest import CONFIG, Repository, writes


def state_folder(repository: Repository) -> Path:
    return repository.path / ".git" / "fleet"


def until(what: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Wait for something to come true, or fail."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not what():
        assert time.monotonic() < deadline, f"never came true: {what}"
        pause.wait(0.05)


def marked_processes(repository: Repository) -> list[int]:
    """Processes of any attempt of this repository."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environ = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if f"{ATTEMPT_MARK}={repository.fleet_id}/".encode() in environ:
            found.append(int(entry.name))
    return found


def worker_pids(repository: Repository) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"fleet.worker" in words and os.fsencode(repository.path) in words:
            found.append(int(entry.name))
    return found


def in_state(repository: Repository, task: str, *states: str) -> Callable[[], bool]:
    return lambda: repository.states().get(task) in states


def test_a_second_coordinator_is_refused_at_once_and_told_who_holds_it(
    repository: Repository,
) -> None:
    repository.tasks({"id": "a", "prompt": "@sleep 60"})
    with repository.start("run") as first:
        until(in_state(repository, "a", "running"))
        began = time.monotonic()
        second = repository.fleet("run")
        assert second.returncode == 75
        assert f"pid {first.pid}" in second.stderr
        assert time.monotonic() - began < 15.0  # the first one would take 60 s
        assert repository.fleet("stop", "--now").returncode == 0
        assert first.wait(60) == 1
        assert first.stdout is not None
        first.stdout.read()


def test_a_killed_worker_loses_its_task_to_another_and_leaves_nothing_behind(
    repository: Repository,
) -> None:
    repository.tasks(
        {"id": "a", "prompt": writes("a.txt", "a", "@on 1", "@daemon 60", "@sleep 60")}
    )
    with repository.start("run") as run:
        until(in_state(repository, "a", "running"))
        until(lambda: len(marked_processes(repository)) >= 2)
        (pid,) = [p for p in worker_pids(repository) if _children(p)]
        os.kill(pid, signal.SIGKILL)
        assert run.wait(60) == 0
        assert run.stdout is not None
        run.stdout.read()
    assert repository.states() == {"a": "merged"}
    assert marked_processes(repository) == []
    shown = json.loads(repository.fleet("task", "show", "a", "--json").stdout)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["abandoned", "merged"]
    assert repository.audit() == ""


def test_a_task_that_kills_its_workers_is_poisoned(repository: Repository) -> None:
    repository.env["FLEET_SANDBOX_MODE"] = "off"  # behind walls it could not
    repository.tasks({"id": "a", "max_attempts": 2, "prompt": "@kill-worker\n@sleep 60"})
    done = repository.fleet("run")
    assert done.returncode == 1
    assert repository.states() == {"a": "poisoned"}
    assert marked_processes(repository) == []


def test_workers_of_a_killed_coordinator_finish_and_the_next_run_goes_on(
    repository: Repository,
) -> None:
    repository.tasks(
        {"id": "a", "prompt": "@sleep 5\n" + writes("a.txt", "a")},
        {"id": "b", "prompt": "@sleep 5\n" + writes("b.txt", "b")},
        {"id": "c", "prompt": writes("c.txt", "c")},
    )
    run = repository.start("run")
    until(in_state(repository, "a", "running"))
    run.kill()
    run.wait()
    assert run.stdout is not None
    run.stdout.close()
    adopted = worker_pids(repository)
    assert adopted
    done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "worker-adopted" in done.stdout
    assert repository.states() == {"a": "merged", "b": "merged", "c": "merged"}
    shown = json.loads(repository.fleet("task", "show", "a", "--json").stdout)
    assert len(shown["attempts"]) == 1  # no attempt was burned by the coordinator's death
    assert repository.audit() == ""


def test_children_of_a_killed_coordinator_end_by_themselves(repository: Repository) -> None:
    repository.tasks(
        {"id": "a", "prompt": "@sleep 3\n" + writes("a.txt", "a")},
        {"id": "later", "depends_on": ["a"], "prompt": writes("b.txt", "b")},
    )
    run = repository.start("run")
    until(in_state(repository, "a", "running"))
    run.kill()
    run.wait()
    assert run.stdout is not None
    run.stdout.close()
    until(lambda: not worker_pids(repository))
    until(lambda: not is_held(state_folder(repository) / "lander.lock"))
    assert repository.states()["a"] == "merged"  # finished and landed
    assert repository.states()["later"] == "pending"  # and nothing more was claimed


def test_one_ctrl_c_finishes_what_is_in_hand(repository: Repository) -> None:
    repository.write("fleet.toml", CONFIG.format(agents=1, commands='["python3 check.py"]'))
    repository.tasks(
        {"id": "a", "prompt": "@sleep 4\n" + writes("a.txt", "a")},
        {"id": "b", "prompt": writes("b.txt", "b")},
    )
    with repository.start("run") as run:
        until(in_state(repository, "a", "running"))
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        assert run.stdout is not None
        run.stdout.read()
    assert repository.states() == {"a": "merged", "b": "pending"}
    assert repository.fleet("run").returncode == 0
    assert repository.states() == {"a": "merged", "b": "merged"}


def test_two_ctrl_cs_end_the_agents_and_give_the_attempts_back(repository: Repository) -> None:
    repository.tasks(
        {"id": "a", "prompt": writes("a.txt", "half done", "@ignore-term", "@sleep 60")}
    )
    with repository.start("run") as run:
        until(in_state(repository, "a", "running"))
        until(lambda: marked_processes(repository))
        run.send_signal(signal.SIGINT)
        threading.Event().wait(0.5)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        assert run.stdout is not None
        run.stdout.read()
    assert marked_processes(repository) == []
    (entry,) = json.loads(repository.fleet("task", "list", "--json").stdout)
    assert (entry["state"], entry["attempts"]) == ("pending", 0)
    hub = state_folder(repository) / "hub.git"
    refs = subprocess.run(
        ["git", "-C", str(hub), "for-each-ref", "refs/fleet/attempts", "refs/fleet/salvage"],
        capture_output=True,
        text=True,
        check=True,
        env=repository.env,
    ).stdout
    assert "/a/1" in refs  # the half-done work is kept


def test_cancelling_a_running_task_stops_its_agent(repository: Repository) -> None:
    repository.tasks(
        {"id": "a", "prompt": "@sleep 60"}, {"id": "b", "prompt": writes("b.txt", "b")}
    )
    with repository.start("run") as run:
        until(in_state(repository, "a", "running"))
        assert repository.fleet("task", "cancel", "a").returncode == 0
        assert run.wait(60) == 1
        assert run.stdout is not None
        run.stdout.read()
    assert repository.states() == {"a": "cancelled", "b": "merged"}
    assert marked_processes(repository) == []


def test_a_paused_fleet_claims_nothing_until_it_is_resumed(repository: Repository) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    assert repository.fleet("pause", "for lunch").returncode == 0
    with repository.start("run") as run:
        until(lambda: "paused: for lunch" in repository.fleet("status").stdout)
        threading.Event().wait(1.0)
        assert repository.states() == {"a": "pending"}
        assert repository.fleet("resume").returncode == 0
        assert run.wait(60) == 0
        assert run.stdout is not None
        run.stdout.read()


def test_stop_ends_a_run_from_another_terminal(repository: Repository) -> None:
    repository.tasks({"id": "a", "prompt": "@sleep 60"})
    with repository.start("run") as run:
        until(in_state(repository, "a", "running"))
        assert repository.fleet("stop", "--now").returncode == 0
        assert run.wait(60) == 1
        assert run.stdout is not None
        run.stdout.read()
    assert repository.states() == {"a": "pending"}
    assert marked_processes(repository) == []
    assert repository.fleet("stop").returncode == 2


def test_a_worker_by_hand_works_after_a_run_has_ended(repository: Repository) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    assert repository.fleet("run").returncode == 0
    assert repository.fleet("task", "add", writes("b.txt", "b"), "--id", "b").returncode == 0
    assert repository.fleet("worker").returncode == 0
    assert repository.states()["b"] == "submitted"


def test_a_task_added_while_running_is_picked_up(repository: Repository) -> None:
    repository.tasks({"id": "a", "prompt": "@sleep 8\n" + writes("a.txt", "a")})
    with repository.start("run") as run:
        until(in_state(repository, "a", "running"))
        added = repository.fleet("task", "add", writes("b.txt", "b"), "--id", "b")
        assert added.returncode == 0, added.stderr
        assert run.wait(60) == 0
        assert run.stdout is not None
        run.stdout.read()
    assert repository.states() == {"a": "merged", "b": "merged"}


def test_a_commit_by_the_user_in_the_middle_of_a_run_becomes_the_base(
    repository: Repository,
) -> None:
    repository.tasks({"id": "a", "prompt": "@sleep 4\n" + writes("a.txt", "a")})
    repository.commit("tasks")
    with repository.start("run") as run:
        until(in_state(repository, "a", "running"))
        repository.write("mine.txt", "by hand")
        by_hand = repository.commit("by hand")
        assert run.wait(60) == 0
        assert run.stdout is not None
        assert "external" in run.stdout.read()
    assert repository.on_main("a.txt") == "a"
    assert repository.on_main("mine.txt") == "by hand"
    assert by_hand in repository.git("log", "--format=%H", "--first-parent", "main")
    assert repository.audit() == ""


def test_a_worker_by_hand_needs_no_coordinator_and_leaves_its_work_for_the_lander(
    repository: Repository,
) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    done = repository.fleet("worker")
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.states() == {"a": "submitted"}
    assert "`fleet run` lands them" in done.stdout
    assert repository.fleet("run").returncode == 0
    assert repository.states() == {"a": "merged"}
    assert repository.audit() == ""


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]
