"""aider has no tools: it edits by blocks of text. A session of its own it cannot continue."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, configure, says, script
from tests.real_cli.clis import needs, wire

pytestmark = [*needs("aider"), pytest.mark.long]
FILE = """\
one.txt
```
done
```
"""  # what it asks for of a model it does not know


def prepare(repository: Repository, text: str, **more: object) -> None:
    repository.write("model.toml", script({"Do the one thing": [says(text, **more)]}))
    configure(repository, upstream=SCRIPTED, agents=1, agent="aider")
    repository.tasks({"id": "a", "prompt": "Do the one thing.", "max_attempts": 1})


def test_what_aider_writes_lands(repository: Repository) -> None:
    prepare(repository, FILE)
    done = repository.fleet("run", timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.on_main("one.txt") == "done"
    assert repository.git("ls-tree", "--name-only", "main") == "\n".join(
        ["base.txt", "check.py", "fleet.toml", "model.toml", "one.txt"]
    )
    _, requests = wire(repository)
    assert {request.endpoint for request in requests} == {"chat"}
    assert repository.audit() == ""


def test_an_aider_that_gave_up_is_no_success_though_it_exits_with_0(
    repository: Repository,
) -> None:
    prepare(repository, "I cannot do that.")
    done = repository.fleet("run", timeout=240)
    assert done.returncode == 1, done.stdout + done.stderr
    assert repository.states() == {"a": "failed"}
    assert "changed nothing" in repository.reason("a")
