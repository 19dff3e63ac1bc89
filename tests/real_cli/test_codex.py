"""What is particular to Codex: what its attempts have in common, notes through the proxy."""

from __future__ import annotations

import json
from pathlib import Path

from fleet.core.traffic import LEADER
from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, a_provider, bash, configure, says, script, started
from tests.e2e.test_supervision import until
from tests.real_cli.clis import needs, wire
from tests.real_cli.test_claude import difference

pytestmark = needs("codex")
ASKED = "Do the one thing"
SESSION = ("client_metadata", "prompt_cache_key")  # of one session, not of what is asked


def test_two_attempts_differ_in_the_path_of_their_workspace_and_nothing_else(
    repository: Repository,
) -> None:
    steps = [bash('echo done > "$FLEET_TASK.txt"'), says("Did it.")]
    with a_provider(script({ASKED: steps})) as provider:
        upstream = provider.upstream().replace("anthropic", "openai")
        configure(repository, upstream=upstream, agents=2, agent="codex")
        repository.tasks(*({"id": id_, "prompt": f"{ASKED}."} for id_ in ("a", "b")))
        done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    bodies = [json.loads(asked.text) for asked in provider.asked]
    one, two = [body for body in bodies if len(body["input"]) == len(bodies[0]["input"])]
    for member in one.keys() | two.keys():
        if member not in {"input", *SESSION}:
            assert difference(text(one.get(member)), text(two.get(member))) == "", member
    assert len(text(one["tools"])) > 1000
    differs = [
        (content(mine), content(yours))
        for mine, yours in zip(one["input"], two["input"], strict=True)
        if content(mine) != content(yours)
    ]
    ((mine, yours),) = differs
    assert "<environment_context>" in mine
    of_a, of_b = (f"/{task}.1/work<" for task in ("a", "b"))
    assert difference(mine.replace(of_a, of_b), yours.replace(of_a, of_b)) == ""
    before = [content(item) for item in one["input"]]
    assert sum(map(len, before[: before.index(mine)])) > 10_000  # what a provider's cache can keep


def text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def content(item: dict[str, object]) -> str:
    """Without the id that every message gets anew, and no provider is asked about."""
    return text({name: value for name, value in item.items() if name != "id"})


def test_a_note_reaches_codex_within_what_it_next_asks(repository: Repository) -> None:
    waits = "echo begun > begun.txt; while test ! -e go; do sleep 0.1; done; rm go"
    obeys = bash("echo done > {name}.txt; rm begun.txt", times=1)
    steps = [bash(waits), says("Did it."), says("Did it.")]
    rule = {"when": "Call it (?P<name>[a-z]+)"} | obeys
    repository.write("model.toml", script({ASKED: steps}, rule))
    configure(repository, upstream=SCRIPTED, agents=1, agent="codex")
    repository.tasks({"id": "a", "prompt": f"{ASKED}."})
    with started(repository, "run") as run:
        until(lambda: begun(repository), seconds=40)
        steered = repository.fleet("steer", "a", "Call it otherwise.")
        assert steered.returncode == 0, steered.stderr
        begun(repository)[0].with_name("go").touch()
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert repository.on_main("otherwise.txt") == "done"
    calls, requests = wire(repository)
    assert [request.dedup for request in requests] == [LEADER] * len(calls)
    assert repository.audit() == ""


def begun(repository: Repository) -> list[Path]:
    return [*repository.path.parent.glob("cache/fleet/project-*/a.1/work/begun.txt")]
