"""Claude Code in whole runs."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, bash, configure, says, script
from tests.real_cli.clis import needs, wire

pytestmark = needs("claude")


@pytest.mark.parametrize("agent", ["claude-bare", "claude"])
def test_what_claude_does_lands(repository: Repository, agent: str) -> None:
    played = script({"Say hello": [bash("echo hello > hello.txt"), says("Said.")]})
    repository.write("model.toml", played)
    configure(repository, upstream=SCRIPTED, agents=1, agent=agent)
    repository.tasks({"id": "a", "prompt": "Say hello in hello.txt"})
    done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.on_main("hello.txt") == "hello"
    calls, requests = wire(repository)
    assert len(calls) == len(requests) == 2
    assert {request.endpoint for request in requests} == {"messages"}
