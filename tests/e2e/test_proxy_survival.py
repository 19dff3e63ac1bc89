"""Runs whose proxy or coordinator is killed while answers are under way."""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path

from fleet.store import proxyfile
from fleet.store.claims import is_held
from fleet.store.layout import Layout
from fleet.store.proxyfile import ProxyAddress
from tests.e2e.conftest import Repository
from tests.e2e.provider import (
    SCRIPTED,
    bash,
    books,
    configure,
    retries,
    says,
    script,
    started,
    transcripts,
)
from tests.e2e.test_supervision import state_folder, until

ROOT = Path(__file__).parents[2]
# mini, after it has told us its token behind the fleet's back.
TOLD = """\
import os, sys
from pathlib import Path
Path(sys.argv[1], os.environ["FLEET_TASK"]).write_text(os.environ["ANTHROPIC_AUTH_TOKEN"])
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
TOLD_PROFILE = """\
command = ["{python}", "{agents}/told.py", "%(told)s", "%(mini)s", "--model", "{model}"]
model = "claude-x"
output = "jsonl"
api = ["anthropic"]
"""
WRITE = bash('echo text > "$FLEET_TASK.txt"')
LONG = "word " * 60  # 13 events


def prepare(repository: Repository, *texts: str, pace: float, delay: float = 0.0) -> None:
    """A task a text; each answer begins after `delay` and takes 20 times `pace`."""
    slow: dict[str, object] = {"text": LONG, "delay": delay, "pace": pace}
    model = {text: [WRITE | slow, says() | slow] for text in texts}
    model["be quick"] = [WRITE | {"delay": 0.5}, says(delay=0.5)]
    repository.write("model.toml", script(model))
    told = repository.path.parent / "told"
    told.mkdir()
    repository.env["FLEET_SANDBOX_WRITE"] = str(told)
    repository.write("agents/told.py", TOLD)
    places = {"told": told, "mini": ROOT / "agents/mini.py"}
    repository.write("agents/told.toml", TOLD_PROFILE % places)
    configure(repository, upstream=SCRIPTED, agents=4)
    repository.tasks(*({"id": text.replace(" ", "-"), "prompt": text} for text in texts))


def proxy_of(repository: Repository) -> ProxyAddress | None:
    common = repository.path / ".git"
    return proxyfile.live(Layout(common_dir=common, top=repository.path, cache=common / "unused"))


def asking(repository: Repository, agents: int) -> bool:
    """So many agents have begun, and so has the proxy."""
    return sum('"start"' in said for said in transcripts(repository).values()) >= agents


def status(port: int, token: str) -> int:
    """What a request with this token comes to."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/models", headers={"x-api-key": token})
    with connection.getresponse() as response:
        response.read()
    connection.close()
    return response.status


def test_agents_get_over_the_death_of_the_proxy(repository: Repository) -> None:
    prepare(repository, "tell a", "tell b", "tell c", "tell d", pace=0.01, delay=0.7)
    with started(repository, "run") as run:
        until(lambda: asking(repository, 4))
        before = proxy_of(repository)
        assert before is not None
        os.kill(before.pid, signal.SIGKILL)
        until(lambda: (proxy_of(repository) or before).pid != before.pid)
        after = proxy_of(repository)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert after is not None
    assert after.port == before.port
    assert retries(repository) >= 4
    assert set(repository.states().values()) == {"merged"}
    assert repository.audit() == ""
    assert not is_held(state_folder(repository) / "proxy.lock")


def test_the_death_of_the_coordinator_cuts_no_answer(repository: Repository) -> None:
    prepare(repository, "tell a", "tell b", pace=0.15)
    repository.tasks(
        {"id": "quick", "agent": "told", "prompt": "be quick", "priority": 0}, name="more.toml"
    )
    told = repository.path.parent / "told/quick"
    with started(repository, "run") as run:
        until(lambda: asking(repository, 3) and told.exists() and told.read_text())
        before = proxy_of(repository)
        assert before is not None
        assert status(before.port, told.read_text()) == 200
        run.kill()
    with started(repository, "run") as run:
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert "worker-adopted proxy" in " ".join(said.split())
    assert set(repository.states().values()) == {"merged"}
    assert retries(repository) == 0
    found = books(repository)
    assert (found.calls, found.incomplete) == (6, 0)  # each has two turns
    assert repository.audit() == ""


def test_a_proxy_that_is_left_alone_ends_and_tokens_end_with_their_attempts(
    repository: Repository,
) -> None:
    prepare(repository, "tell a", pace=0.15)
    repository.tasks(
        {"id": "quick", "agent": "told", "prompt": "be quick", "priority": 0}, name="more.toml"
    )
    told = repository.path.parent / "told/quick"
    with started(repository, "run") as run:
        until(lambda: asking(repository, 2) and told.exists() and told.read_text())
        proxy = proxy_of(repository)
        assert proxy is not None
        token = told.read_text()
        assert status(proxy.port, token) == 200
        run.kill()
    until(lambda: status(proxy.port, token) == 401)  # the other attempt keeps the proxy
    assert proxy_of(repository) == proxy
    until(lambda: not is_held(state_folder(repository) / "proxy.lock"))
    assert retries(repository) == 0
    assert books(repository).incomplete == 0


def test_a_script_that_cannot_be_read_ends_the_run_with_its_lines(repository: Repository) -> None:
    repository.tasks({"id": "one", "prompt": "be quick"})
    repository.write("model.toml", 'models = ["m"]\n[[rules]]\ntext = "x"\ndelay = -1\n')
    configure(repository, upstream=SCRIPTED, agents=2)
    done = repository.fleet("run")
    assert done.returncode == 3
    assert "model.toml:4: delay is -1" in done.stderr
    assert "Traceback" not in done.stderr
