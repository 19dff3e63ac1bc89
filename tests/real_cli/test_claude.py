"""What is particular to Claude Code: one prefix for the whole fleet, notes on its stdin."""

from __future__ import annotations

import json
import tomllib

import pytest
import tomli_w

from fleet.store.layout import shipped_agents
from tests.e2e.conftest import Repository
from tests.e2e.provider import SCRIPTED, Provider, a_provider, bash, configure, says, script
from tests.e2e.test_supervision import until
from tests.real_cli.clis import needs

pytestmark = needs("claude")
LOGIN = "sk-ant-oat01-canary"
AROUND = 60  # characters of a difference that are shown


def prefixes(provider: Provider, member: str) -> list[str]:
    """That member of every request that came, as it came."""
    bodies = [json.loads(asked.text) for asked in provider.asked]
    found = [body.get(member) for body in bodies if body.get("tools")]
    return [json.dumps(value, ensure_ascii=False) for value in found]


def difference(one: str, other: str) -> str:
    """Where they begin to differ, and how; "" when they do not."""
    if one == other:
        return ""
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    shown = slice(max(0, at - AROUND), at + AROUND)
    return f"at {at}: {one[shown]!r} is {other[shown]!r}"


@pytest.mark.parametrize("agent", ["claude-bare", "claude"])
def test_two_attempts_have_one_prefix_byte_for_byte(repository: Repository, agent: str) -> None:
    steps = [bash('echo done > "$FLEET_TASK.txt"'), says("Did it.")]
    with a_provider(script({"Do the one thing": steps})) as provider:
        configure(repository, upstream=provider.upstream(), agents=2, agent=agent)
        repository.tasks(*({"id": id_, "prompt": "Do the one thing."} for id_ in ("a", "b")))
        done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    # The short prompt of --bare does not say where it works: the two share their calls.
    assert len(provider.asked) == {"claude-bare": 2, "claude": 4}[agent]
    for member in ("system", "tools"):
        first, *others = prefixes(provider, member)
        assert len(first) > 200
        for other in others:
            assert difference(first, other) == "", member


def test_a_note_reaches_claude_while_it_works(repository: Repository) -> None:
    waits = "echo begun > begun.txt; while test ! -e go; do sleep 0.1; done; rm go"
    obeys = bash("echo done > {name}.txt; rm begun.txt", times=1)
    # Claude shows it beside the result of a tool, or as a turn if it comes too late for that.
    rules = ({place: "Call it (?P<name>[a-z]+)"} | obeys for place in ("when_result", "when"))
    steps = [bash(waits), says("Did it."), says("Did it.")]
    repository.write("model.toml", script({"Do the one thing": steps}, *rules))
    configure(repository, upstream=SCRIPTED, agents=1, agent="claude-bare")
    repository.tasks({"id": "a", "prompt": "Do the one thing."})
    run = repository.start("run")
    try:
        cache = repository.path.parent / "cache"
        until(lambda: [*cache.glob("fleet/project-*/a.1/work/begun.txt")])
        (begun,) = cache.glob("fleet/project-*/a.1/work/begun.txt")
        steered = repository.fleet("steer", "a", "Call it otherwise.")
        assert steered.returncode == 0, steered.stderr
        begun.with_name("go").touch()
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, said
    assert repository.on_main("otherwise.txt") == "done"


def test_a_login_of_its_own_goes_on_to_the_provider(repository: Repository) -> None:
    shipped = tomllib.loads((shipped_agents() / "claude.toml").read_text())
    shipped["pass_env"] += ["CLAUDE_CODE_OAUTH_TOKEN"]
    shipped["env"] |= {"ANTHROPIC_AUTH_TOKEN": ""}
    repository.write("agents/claude.toml", tomli_w.dumps(shipped))
    repository.env["CLAUDE_CODE_OAUTH_TOKEN"] = LOGIN
    steps = [bash("echo done > one.txt"), says("Did it.")]
    with a_provider(script({"Do the one thing": steps})) as provider:
        upstream = f'kind = "anthropic"\nurl = "{provider.url}"'
        configure(repository, upstream=upstream, agents=1, agent="claude")
        repository.tasks({"id": "a", "prompt": "Do the one thing."})
        done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {asked.login for asked in provider.asked} == {f"Bearer {LOGIN}"}
    kept = (repository.path / ".git/fleet").rglob("*")
    assert not [path for path in kept if path.is_file() and LOGIN.encode() in path.read_bytes()]
