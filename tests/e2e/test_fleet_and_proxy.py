"""Whole runs whose model traffic can be worked out beforehand, to the call."""

from __future__ import annotations

from pathlib import Path

from fleet.core.traffic import plus
from tests.e2e.conftest import Repository
from tests.e2e.provider import (
    CHECKED,
    SCRIPTED,
    a_provider,
    bash,
    books,
    configure,
    retries,
    says,
    script,
)

ROOT = Path(__file__).parents[2]
ALIKE = 4  # tasks with the same text
TURNS = (2, 3, 4, 2, 3, 4)  # of the model, a text

# An agent that does not listen: whatever its last attempt ran into, it asks its model the same.
DEAF = """\
import os, sys
prompt = sys.stdin.read().partition("## What the last attempt")[0]
read, write = os.pipe()
os.write(write, prompt.encode())
os.close(write)
os.dup2(read, 0)
os.execv(sys.executable, [sys.executable, "{mini}", *sys.argv[1:]])
"""
DEAF_PROFILE = """\
command = ["{python}", "{agents}/deaf.py", "--model", "{model}"]
model = "claude-x"
api = ["anthropic"]
"""


def text_of(number: int) -> str:
    return f"Write down page number {number}"


def pages() -> str:
    """Every text has as many turns as `TURNS` says; what its commands print is the same for all
    of its tasks, and what they write is not."""
    steps = {}
    for number, turns in enumerate(TURNS):
        commands = [
            f'echo {turn} >> "$FLEET_TASK.txt"; echo turn {turn}' for turn in range(turns - 1)
        ]
        steps[text_of(number)] = [
            *(
                bash(command, text=f"Turn {n}.", delay=0.2, pace=0.002)
                for n, command in enumerate(commands)
            ),
            says("Written.", delay=0.2),
        ]
    return script(steps)


def test_24_agents_pay_for_the_work_of_six(repository: Repository) -> None:
    names = {f"page{n}-{who}": n for n in range(len(TURNS)) for who in "abcd"}
    repository.tasks(*({"id": id_, "prompt": text_of(n)} for id_, n in names.items()))
    with a_provider(pages()) as provider:
        configure(repository, upstream=provider.upstream(), agents=24)
        done = repository.fleet("run", timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        played = dict(provider.calls)
    assert set(repository.states().values()) == {"merged"}
    for id_, number in names.items():
        written = [str(turn) for turn in range(TURNS[number] - 1)]
        assert repository.on_main(f"{id_}.txt").split() == written
    # each step was played once, for the first who asked
    assert played == {f"{text_of(n)}.{t + 1}": 1 for n in range(6) for t in range(TURNS[n])}
    found, calls = books(repository), sum(TURNS)
    assert (found.calls, found.incomplete, found.requests) == (calls, 0, calls * ALIKE)
    assert (found.led, found.joined + found.replayed) == (calls, calls * (ALIKE - 1))
    assert (found.bypassed, found.gone, found.turned_away) == (0, 0, 0)
    # and three of four answers cost nothing
    assert found.saved == plus(plus(found.usage, found.usage), found.usage)
    assert found.cost > 0
    assert found.saved_cost == found.cost * (ALIKE - 1)
    assert retries(repository) == 0
    assert f"requests {calls * ALIKE}, upstream calls {calls}, joined {found.joined}" in done.stdout
    assert repository.audit() == ""


def test_after_a_verdict_nobody_gets_the_answers_that_led_to_it(repository: Repository) -> None:
    """Three kinds of tasks, four of each. "first" lands at once: 2 calls. "deaf" is rejected once
    and asks for the very same again: 2 calls a round. "heard" is rejected once and tells its model
    why, which is not the same for any two: 2 calls for the first round, 2 a task for the second."""
    bad, good = 'echo bad > "$FLEET_TASK.txt"', 'echo good > "$FLEET_TASK.txt"'
    once = bash(bad, delay=0.2, prompt="task for the deaf", turn=1, times=1)
    tasks = {
        "task for the first": [bash(good, delay=0.2), says()],
        "task for the deaf": [bash(good, delay=0.2), says()],
        "(?s)task for the heard.*ran into": [bash(good, delay=0.2), says()],
        "task for the heard": [bash(bad, delay=0.2), says()],
    }
    repository.write("model.toml", script(tasks, once))
    repository.write("agents/deaf.py", DEAF.replace("{mini}", str(ROOT / "agents/mini.py")))
    repository.write("agents/deaf.toml", DEAF_PROFILE)
    repository.env["FLEET_SANDBOX_READ"] = str(ROOT / "agents")
    configure(repository, upstream=SCRIPTED, agents=6, commands=CHECKED)
    kinds = {"first": "mini", "deaf": "deaf", "heard": "mini"}
    repository.tasks(
        *(
            {"id": f"{kind}-{who}", "prompt": f"A task for the {kind}.", "agent": agent}
            for kind, agent in kinds.items()
            for who in "abcd"
        )
    )
    done = repository.fleet("run", "--record", "../tape", timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in kinds:
        assert {repository.on_main(f"{kind}-{who}.txt") for who in "abcd"} == {"good"}
    found = books(repository)
    calls, requests = 2 + (2 + 2) + (2 + 2 * ALIKE), 2 * ALIKE * (1 + 2 + 2)
    assert (found.calls, found.requests) == (calls, requests)
    assert (found.led, found.joined + found.replayed) == (calls, requests - calls)
    assert len(list((repository.path.parent / "tape").rglob("*.json"))) == calls
    assert retries(repository) == 0
    assert repository.audit() == ""
