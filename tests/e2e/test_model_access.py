from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.store import tokens
from fleet.store.database import Database
from tests.e2e.conftest import CONFIG, Repository, writes
from tests.e2e.test_supervision import state_folder, until, worker_pids

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).with_name("proxy_stand_in.py")
PORT = 4777
CANARIES = {
    "ANTHROPIC_API_KEY": "sk-ant-canary-1",
    "ANTHROPIC_AUTH_TOKEN": "canary-2",
    "OPENAI_API_KEY": "sk-canary-3",
    "GEMINI_API_KEY": "AIzaCanary-4",
    "WORK_KEY": "canary-5",
}

PROFILE = """\
command = ["{python}", "{agents}/spy.py"]
model = "claude-x"
api = ["anthropic", "openai", "gemini"]

[env]
OPENAI_API_BASE = "{proxy}/own"
SPY_TOKEN = "{token}"

[files]
".spy/config.json" = '{"url": "{proxy}", "model": "{model}", "kept": {"a": "{b}"}}'
"""

SPY = """\
import json, os, sys
from pathlib import Path
home = Path(os.environ["HOME"], ".spy/config.json").read_text()
argv = Path(f"/proc/{os.getpid()}/cmdline").read_text()
seen = {"env": dict(os.environ), "file": json.loads(home), "prompt": sys.stdin.read(), "argv": argv}
worker = Path(f"/proc/{os.getppid()}/environ")
try:
    seen["worker"] = worker.read_text()
except OSError:
    seen["worker"] = ""
Path("seen.txt").write_text(json.dumps(seen))
print("cannot reach", os.environ["ANTHROPIC_BASE_URL"])
"""

UPSTREAMS = """
[proxy.upstreams.work]
kind = "anthropic"
keys = ["WORK_KEY"]

[proxy.upstreams.fake]
kind = "script"
script = "model.toml"
"""


@contextmanager
def a_proxy(repository: Repository) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, str(STAND_IN), str(repository.path / ".git"), str(PORT)]
    env = {**repository.env, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        try:
            yield running
        finally:
            assert running.stdin is not None
            running.stdin.close()


@pytest.fixture
def spied(repository: Repository) -> Repository:
    """A repository with an agent that writes down everything it can see."""
    config = CONFIG.format(agents=1, commands='["python3 check.py"]')
    repository.write("fleet.toml", config + UPSTREAMS)
    repository.write("model.toml", "")
    repository.write("agents/spy.toml", PROFILE)
    repository.write("agents/spy.py", SPY)
    repository.commit("spy")
    return replace(repository, env={**repository.env, **CANARIES})


def test_an_agent_is_given_a_token_and_never_a_key(spied: Repository) -> None:
    spied.tasks({"id": "look", "agent": "spy", "prompt": "look around"})
    with a_proxy(spied):
        done = spied.fleet("run", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(spied.on_main("seen.txt"))
    env, token = seen["env"], seen["env"]["SPY_TOKEN"]
    base = f"http://127.0.0.1:{PORT}/a/{token}"
    assert {name: env[name] for name in env if "_BASE" in name or "_KEY" in name} == {
        "ANTHROPIC_BASE_URL": base,
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_BASE": f"{base}/own",
        "OPENAI_API_KEY": token,
        "GOOGLE_GEMINI_BASE_URL": base,
        "GEMINI_API_KEY": token,
    }
    assert env["ANTHROPIC_AUTH_TOKEN"] == token
    assert env["no_proxy"] == env["NO_PROXY"] == "127.0.0.1,localhost"
    assert seen["file"] == {"url": base, "model": "claude-x", "kept": {"a": "{b}"}}
    for canary in CANARIES.values():
        assert canary not in json.dumps(seen)
        assert_nowhere(spied, canary)
    assert token not in seen["argv"] + seen["prompt"] + done.stdout + done.stderr
    transcript = next(state_folder(spied).glob("attempts/*/transcript.log"))
    assert token in transcript.read_text()  # its own words
    assert_nowhere(spied, token, but=transcript)
    with_token_dead(spied, token)


def assert_nowhere(repository: Repository, secret: str, *, but: Path | None = None) -> None:
    for path in state_folder(repository).rglob("*"):
        if path.is_file() and path != but:
            assert secret.encode() not in path.read_bytes(), path


def with_token_dead(repository: Repository, token: str) -> None:
    db = Database(state_folder(repository) / "state.db", read_only=True)
    known = db.one("SELECT task FROM tokens WHERE hash = ?", (tokens.digest(token.encode()),))
    assert known == ("look",)
    assert tokens.live(db) == ()
    db.close()


def test_an_agent_that_fails_does_not_tell_its_token_to_the_next(spied: Repository) -> None:
    spied.write("agents/spy.py", SPY.replace('Path("seen.txt").write_text(json.dumps(seen))', ""))
    spied.commit("blind")
    spied.tasks({"id": "look", "agent": "spy", "prompt": "look", "max_attempts": 1})
    with a_proxy(spied):
        assert spied.fleet("run").returncode == 1
    reason = spied.reason("look")
    assert f"cannot reach http://127.0.0.1:{PORT}/a/…" in reason


def test_without_a_proxy_only_tasks_without_a_model_are_claimed(spied: Repository) -> None:
    spied.tasks(
        {"id": "look", "agent": "spy", "prompt": "look", "priority": 0},
        {"id": "plain", "prompt": writes("plain.txt", "x")},
    )
    with spied.start("worker") as worker:
        until(lambda: spied.states()["plain"] == "submitted")
        assert spied.states()["look"] == "pending"
        environ = Path(f"/proc/{worker.pid}/environ")
        shown = environ.read_bytes() if os.access(environ, os.R_OK) else b""
        assert not any(canary.encode() in shown for canary in CANARIES.values())
        with a_proxy(spied):
            until(lambda: spied.states()["look"] == "submitted")
        said, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert said.count("tasks wait for a proxy") == 1


def test_workers_of_a_run_cannot_see_keys(spied: Repository) -> None:
    spied.tasks({"id": "a", "prompt": "@sleep 60"})
    with spied.start("run") as run:
        until(lambda: spied.states()["a"] == "running")
        for pid in (run.pid, *worker_pids(spied)):
            environ = Path(f"/proc/{pid}/environ")
            shown = environ.read_bytes() if os.access(environ, os.R_OK) else b""
            assert b"PATH=" in shown or os.geteuid() != 0
            assert not any(canary.encode() in shown for canary in CANARIES.values()), pid
        assert spied.fleet("stop", "--now").returncode == 0
        run.communicate(timeout=60)


def test_a_missing_key_is_said_before_the_first_claim(spied: Repository) -> None:
    env = {name: value for name, value in spied.env.items() if name != "WORK_KEY"}
    without = replace(spied, env=env)
    without.tasks(
        {"id": "plain", "prompt": writes("plain.txt", "x")},
        {"id": "look", "agent": "mini", "prompt": "look"},
    )
    done = without.fleet("run")
    assert done.returncode == 3
    assert "agent 'mini' needs a model: upstream 'work' needs a key, and WORK_KEY" in done.stderr
    assert set(without.states().values()) == {"pending"}
    doctor = without.fleet("doctor")
    assert doctor.returncode == 1
    assert "BAD  agent 'mini' needs a model" in doctor.stdout
    # what no open task needs does not have to be there
    without.tasks({"id": "plain", "prompt": writes("plain.txt", "x")})
    without.fleet("run")
    assert without.states()["plain"] == "merged"


def test_the_doctor_names_keys_and_never_shows_them(spied: Repository) -> None:
    spied.tasks({"id": "look", "agent": "spy", "prompt": "look"})
    before = spied.fleet("doctor").stdout
    assert "the proxy is not running" in before
    with a_proxy(spied) as proxy:
        done = spied.fleet("doctor")
        assert f"the proxy listens on port {PORT}, pid {proxy.pid}" in done.stdout
    assert "upstream work (anthropic, https://api.anthropic.com): WORK_KEY is set" in done.stdout
    assert f"upstream fake (script, {spied.path}/model.toml): no key" in done.stdout
    assert done.returncode == 0, done.stdout
    assert not any(canary in done.stdout + before for canary in CANARIES.values())


def test_a_tape_needs_a_proxy_of_its_own(spied: Repository) -> None:
    spied.tasks({"id": "look", "agent": "spy", "prompt": "look"})
    with a_proxy(spied):
        done = spied.fleet("run", "--record", "tape")
    assert (done.returncode, "serves this repository already" in done.stderr) == (2, True)
    assert spied.fleet("run", "--replay", "tape").returncode == 2
    assert spied.fleet("run", "--record", "a", "--replay", "b").returncode == 2
