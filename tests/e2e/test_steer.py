from __future__ import annotations

import json
from typing import Any

from fleet.proxy.dialects.noting import worded
from tests.e2e.conftest import Repository
from tests.e2e.provider import a_provider, bash, configure, says, script, started
from tests.e2e.test_supervision import until

NOTE = "Write it to left.txt instead."
PATIENCE = 60  # turns of 0.1 s for the note to come

Json = dict[str, Any]


def test_a_note_turns_a_running_agent_around(repository: Repository) -> None:
    go = repository.path.parent / "signs" / "go"
    go.parent.mkdir()
    repository.env["FLEET_SANDBOX_READ"] = str(go.parent)
    steps = [
        bash(f"until [ -e {go} ]; do sleep 0.05; done"),
        *(bash("sleep 0.1") for _ in range(PATIENCE)),
        bash("echo unheard > right.txt"),
    ]
    told = [bash("echo steered > left.txt"), bash("cat left.txt"), says("To the left.")]
    repository.tasks({"id": "drive", "prompt": "Write it to right.txt."})
    with a_provider(script({"left[.]txt instead": told, "Write it": steps})) as provider:
        configure(repository, upstream=provider.upstream(), agents=1)
        with started(repository, "run", "--json") as run:
            until(lambda: provider.asked)
            done = repository.fleet("steer", "drive", NOTE)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("noted: it reaches mini (drive.1) with its next question")
            go.touch()
            said, _ = run.communicate(timeout=60)
        assert run.returncode == 0, said
        asked = [json.loads(request.text)["messages"] for request in provider.asked]
    assert repository.on_main("left.txt") == "steered"
    assert "right.txt" not in repository.git("ls-tree", "--name-only", "main")
    noted = [event for event in map(json.loads, said.splitlines()) if event["kind"] == "noted"]
    assert [(event["task"], event["agent"], event["reason"]) for event in noted] == [
        ("drive", "mini", NOTE)
    ]
    stays_in_its_place(asked)
    late = repository.fleet("steer", "drive", NOTE)
    assert (late.returncode, "has ended (merged)" in late.stderr) == (2, True)


def stays_in_its_place(asked: list[list[Json]]) -> None:
    """In the last turn of the request it came with, and there ever after."""
    note = {"type": "text", "text": worded(NOTE)}
    has_it = [note in messages[-1]["content"] for messages in asked]
    assert has_it.count(True) == 1
    came_with = has_it.index(True)
    place = len(asked[came_with]) - 1
    assert came_with > 0
    assert len(asked) == came_with + 3
    for messages in asked[:came_with]:
        assert worded(NOTE) not in str(messages)
    for messages in asked[came_with:]:
        assert messages[place]["content"][-1] == note
        assert messages[place]["content"][0]["type"] == "tool_result"
        assert str(messages).count("user of this fleet") == 1
