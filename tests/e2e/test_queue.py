from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.e2e.conftest import CONFIG, Repository, writes


@pytest.fixture
def crowded(repository: Repository) -> Repository:
    """Six agents whose gates all run at once, so that most proofs are on an older tip."""
    repository.write("fleet.toml", CONFIG.format(agents=6, commands='["python3 check.py"]'))
    repository.write("old.txt", "here")
    repository.commit("old")
    return replace(repository, env={**repository.env, "FLEET_GATE_SLOTS": "6"})


def slowly(prompt: str) -> str:
    """Agents end at about the same time: none starts from another's landing."""
    return f"@sleep 1\n{prompt}"


def outcomes(repository: Repository, task: str) -> list[tuple[str, str]]:
    shown = json.loads(repository.fleet("task", "show", task, "--json").stdout)
    return [(attempt["outcome"], attempt["reason"]) for attempt in shown["attempts"]]


def test_a_crowd_lands_in_batches_and_each_commit_is_its_own(crowded: Repository) -> None:
    names = [f"t{n}" for n in range(6)]
    tasks: list[dict[str, object]] = [
        {"id": name, "prompt": slowly(writes(f"{name}.txt", name))} for name in names
    ]
    crowded.tasks(*tasks)
    done = crowded.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    gates = [line for line in done.stdout.splitlines() if "gated" in line and "lander" in line]
    assert any(int(line.split("s: ")[1].split(" merged")[0]) > 1 for line in gates), done.stdout
    messages = crowded.git("log", "--first-parent", "--format=%B", "main")
    assert all(f"Fleet-Task: {name}" in messages for name in names)
    assert crowded.audit() == ""


def test_the_one_that_breaks_a_batch_is_found_and_the_others_land(crowded: Repository) -> None:
    good: list[dict[str, object]] = [
        {"id": f"g{n}", "prompt": slowly(writes(f"g{n}.txt", "good"))} for n in range(4)
    ]
    crowded.tasks(
        {"id": "removes", "priority": 0, "prompt": slowly("@delete old.txt")},
        *good,
        {
            "id": "uses",
            "max_attempts": 2,
            "prompt": slowly(writes("user.txt", "needs old.txt")),
        },
    )
    crowded.fleet("run")
    states = crowded.states()
    assert all(states[f"g{n}"] == "merged" for n in range(4))
    assert sorted(states[task] for task in ("removes", "uses")) == ["failed", "merged"]
    files = crowded.git("ls-tree", "--name-only", "main").splitlines()
    assert ("user.txt" in files) == ("old.txt" in files)
    loser = "uses" if states["uses"] == "failed" else "removes"
    assert any(outcome == "rejected" for outcome, _ in outcomes(crowded, loser))
    assert crowded.audit() == ""


def test_a_conflict_in_the_queue_goes_back_with_its_files_named(crowded: Repository) -> None:
    crowded.tasks(
        {"id": "a", "prompt": slowly("@append base.txt\nfrom a\n@end")},
        {"id": "b", "prompt": slowly("@append base.txt\nfrom b\n@end")},
    )
    done = crowded.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(crowded.on_main("base.txt").splitlines()) == ["base", "from a", "from b"]
    both = outcomes(crowded, "a") + outcomes(crowded, "b")
    assert ("conflict", "conflict in base.txt") in both
    assert crowded.audit() == ""
