"""Whole runs behind walls: what agents ask their models, and what gates can get at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.process.sandbox.bubblewrap import find
from tests.e2e.conftest import FLEET, Repository, writes
from tests.e2e.provider import a_provider, bash, configure, says, script

LOOK = """pwd; echo "$HOME" "$TMPDIR"; git rev-parse --show-toplevel; git status -s; ls"""


@pytest.fixture
def walled(repository: Repository) -> Repository:
    if find(repository.env["PATH"]) is None:
        pytest.skip("bubblewrap is not here, or not allowed to work")
    repository.env["FLEET_SANDBOX_MODE"] = "required"
    return repository


def test_equal_agents_ask_the_same_bytes_wherever_they_work(walled: Repository) -> None:
    steps = [bash(LOOK), bash('echo done > "$FLEET_TASK.txt"'), says()]
    walled.tasks(*({"id": name, "prompt": "Look around."} for name in ("one", "two", "three")))
    with a_provider(script({"Look around": steps})) as provider:
        configure(walled, upstream=provider.upstream(), agents=3, more='\n[proxy]\ndedup = "off"\n')
        done = walled.fleet("run")
        assert done.returncode == 0, done.stdout + done.stderr
        bodies = [request.text for request in provider.asked]
    assert len(bodies) == 9
    assert sorted(map(bodies.count, set(bodies))) == [3, 3, 3]  # three turns, each thrice the same
    last = json.loads(max(bodies, key=len))
    assert "/workspace" in json.dumps(last)
    assert str(walled.path.parent) not in json.dumps(last)


def test_different_tasks_share_the_beginning_of_what_they_ask(walled: Repository) -> None:
    steps = [bash(LOOK), bash('echo done > "$FLEET_TASK.txt"'), says()]
    walled.tasks(*({"id": f"t{n}", "prompt": f"Look around, number {n}."} for n in range(3)))
    with a_provider(script({"Look around": steps})) as provider:
        configure(walled, upstream=provider.upstream(), agents=3)
        assert walled.fleet("run").returncode == 0
        first = [r.text for r in provider.asked if len(json.loads(r.text)["messages"]) == 1]
    assert len(first) == 3
    begins = [text.partition("number ")[0] for text in first]
    assert len(set(begins)) == 1
    assert len(begins[0]) > 1500  # tools, system prompt and rules


def test_a_gate_sees_neither_fleets_state_nor_the_network_nor_the_checkout_of_the_user(
    walled: Repository,
) -> None:
    state = walled.path / ".git" / "fleet" / "state.db"
    walled.write(
        "check.py",
        "import pathlib, socket, sys\n"
        f"assert not pathlib.Path({str(state)!r}).exists()\n"
        f"assert not pathlib.Path({str(walled.path / 'base.txt')!r}).exists()\n"
        "assert pathlib.Path('base.txt').exists()\n"
        "pathlib.Path('/tmp/left').write_text('its own')\n"
        "names = [name for _, name in socket.if_nameindex()]\n"
        "assert names == ['lo'], names\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    socket.create_connection(server.getsockname()).close()\n",
    )
    walled.commit("a nosy check")
    walled.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    done = walled.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr + walled.reason("a")


def test_what_an_agent_leaves_outside_its_workspace_reaches_nobody(walled: Repository) -> None:
    loot = walled.path.parent / "loot"
    walled.tasks(
        {
            "id": "a",
            "prompt": "\n".join(
                (
                    f"@run sh -c 'echo planted > {loot} || true'",
                    f"@run sh -c 'ls {walled.path} > seen.txt 2>&1 || true'",
                    writes("a.txt", "a"),
                )
            ),
        }
    )
    done = walled.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not loot.exists()
    assert (walled.path / "fleet.toml").exists()
    assert "fleet.toml" not in walled.on_main("seen.txt")


def test_a_run_says_which_walls_it_has_and_a_doctor_too(walled: Repository) -> None:
    walled.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    assert "bubblewrap: agents and gates have" in walled.fleet("run").stdout
    doctor = walled.fleet("doctor").stdout
    assert "sandbox: bubblewrap" in doctor
    assert "a process namespace of their own" in doctor


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace takes Landlock away here")
def test_walls_that_are_required_and_cannot_be_had_start_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("git", "python3"):
        (path / name).symlink_to(str(shutil.which(name)))
    env = {**repository.env, "PATH": str(path), "FLEET_SANDBOX_MODE": "required"}
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    call = "landlock_create_ruleset"
    without = (str(shutil.which("strace")), "-f", "--seccomp-bpf", "-qq", "-o", os.devnull)
    done = subprocess.run(
        [*without, "-e", f"trace={call}", "-e", f"inject={call}:error=EOPNOTSUPP", *FLEET, "run"],
        cwd=repository.path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert '[sandbox] mode is "required"' in done.stderr
    assert repository.states() == {"a": "pending"}


def test_wrong_settings_of_the_sandbox_are_said_with_their_place(repository: Repository) -> None:
    config = repository.path / "fleet.toml"
    config.write_text(
        config.read_text() + '\n[sandbox]\nmode = "yes"\nread = ["relative", "/"]\nwalls = 1\n'
    )
    done = repository.fleet("run")
    assert done.returncode == 3
    for word in ("mode", "relative", "walls"):
        assert word in done.stderr
    assert Path(repository.path, "tasks").exists() is False


def test_a_prompt_is_no_place_to_show(walled: Repository) -> None:
    """Given as an argument, it might be the name of a folder of the user's."""
    secrets = walled.path.parent / "plans"
    secrets.mkdir()
    (secrets / "secret.txt").write_text("a plan")
    walled.write(
        "agents/reader.toml",
        f'command = ["sh", "-c", "ls {secrets} > a.txt 2>&1; true", "{{prompt}}"]\n'
        'prompt = "argument"\n',
    )
    walled.commit("agents")
    walled.tasks({"id": "a", "agent": "reader", "prompt": f"{secrets}/secret.txt"})
    done = walled.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No such file" in walled.on_main("a.txt")
