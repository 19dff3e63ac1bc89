"""One fleet of different agents."""

from __future__ import annotations

from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, bash, configure, says, script
from tests.real_cli.clis import needs, wire

pytestmark = [*needs("claude"), *needs("codex")]
AGENTS = ("claude", "codex", "mini", "command")


def test_twenty_tasks_of_four_kinds_of_agents_land_in_one_run(repository: Repository) -> None:
    command = 'echo "by $FLEET_TASK" > "$FLEET_TASK.txt"'
    repository.write("model.toml", script({"Sign it": [bash(command), says("Signed.")]}))
    configure(repository, upstream=SCRIPTED, agents=4)
    names = {f"{agent}-{number}": agent for number in range(5) for agent in AGENTS}
    prompts = {"command": f"$ sh -c '{command}'"}
    repository.tasks(
        *(
            {"id": id_, "agent": agent, "prompt": prompts.get(agent, "Sign it.")}
            for id_, agent in names.items()
        )
    )
    done = repository.fleet("run", timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 tasks landed" in done.stdout
    for id_ in names:
        assert repository.on_main(f"{id_}.txt") == f"by {id_}"
    _, requests = wire(repository)
    seen = {request.task.split("-")[0] for request in requests}
    assert seen == {"claude", "codex", "mini"}
    assert {request.endpoint for request in requests} == {"messages", "responses"}
    assert repository.audit() == ""
