from __future__ import annotations

import json

from tests.e2e.conftest import Repository


def test_an_agent_is_tried_out_from_its_version_to_its_resume(repository: Repository) -> None:
    done = repository.fleet("agent", "check", "mini", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    verdicts = {each["part"]: each["verdict"] for each in told["findings"]}
    assert verdicts == {
        "program": "works",
        "tools": "works",
        "stream": "works",
        "prefix": "works",
        "kill": "works",
        "resume": "absent",
        "steer": "works",
    }
    assert [each.partition(" bytes")[0][:17] for each in told["requests"]] == [
        "POST /v1/messages"
    ] * 2
    assert repository.git("status", "--porcelain") == ""


def test_an_agent_that_changes_nothing_fails_its_trial(repository: Repository) -> None:
    repository.write(
        "agents/lazy.toml", 'command = ["true"]\napi = ["anthropic"]\n[env]\nX = "{token}"\n'
    )
    repository.write("agents/lost.toml", 'command = ["no-such-program"]\n')
    done = repository.fleet("agent", "check", "lazy", "lost")
    assert done.returncode == 1
    assert "nothing landed: the agent changed nothing; it made 0 requests" in done.stdout
    assert "'no-such-program' is not on PATH" in done.stdout
    assert repository.fleet("agent", "check", "nobody").returncode == 2
