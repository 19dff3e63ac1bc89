"""Somebody runs gc and prune all the time, in the user's repository and in the hub."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.repo import merge
from fleet.repo.branch import Advance
from tests.repo.scene import AT, Scene, commit, git, write

COMMANDS = (("gc", "--quiet", "--prune=now"), ("prune", "--expire=now"), ("repack", "-adq"))


@contextmanager
def _collected(*repositories: Path) -> Iterator[list[int]]:
    """A loop for each; how many commands have run is what is yielded."""
    ended, ran = threading.Event(), [0]

    def loop(at: Path) -> None:
        while not ended.is_set():
            for command in COMMANDS:
                subprocess.run(["git", *command], cwd=at, capture_output=True, check=False)
                ran[0] += 1

    threads = [threading.Thread(target=loop, args=(at,)) for at in repositories]
    for thread in threads:
        thread.start()
    try:
        yield ran
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _land(scene: Scene, number: int) -> tuple[str, str]:
    """An attempt with a commit and uncommitted work, merged and landed: its head, the landing."""
    attempt = scene.attempt()
    commit(attempt.work, {f"committed{number}": f"{number}"})
    write(attempt.work, {f"left{number}": f"{number}"})
    got = attempt.harvest()
    assert got.problem == ""
    merged = merge.merge(scene.hub, attempt.base, got.head)
    landing = merge.commit(
        scene.hub, merged.tree, (attempt.base, got.head), f"landing {number}",
        author_name="f", author_email="f@localhost", at=AT + number,
    )  # fmt: skip
    git(scene.hub.path, "prune", "--expire=now", check=False)  # no ref has it yet
    scene.target.send(scene.hub, landing)
    assert scene.target.advance(attempt.base, landing) is Advance.MOVED
    return got.head, landing


@pytest.mark.parametrize("rounds", [4, pytest.param(60, marks=pytest.mark.long)])
def test_gc_and_prune_all_the_time_lose_nothing(scene: Scene, rounds: int) -> None:
    with _collected(scene.top, scene.hub.path) as ran:
        made = [_land(scene, number) for number in range(rounds)]
    assert ran[0] >= rounds
    for at in (scene.top, scene.hub.path):
        assert git(at, "fsck", "--full", "--strict", "--no-dangling") == ""
    reachable = set(git(scene.hub.path, "rev-list", "--all").split())
    assert {head for head, _ in made} <= reachable
    assert all(scene.hub.has(landing) for _, landing in made)
    assert git(scene.top, "rev-list", "--first-parent", "main").split()[:-1] == [
        landing for _, landing in reversed(made)
    ]
    assert git(scene.top, "status", "--porcelain") == ""


def test_the_hub_refuses_to_prune_what_has_no_ref_yet(scene: Scene) -> None:
    tree = scene.hub.tree_of(scene.tip())
    made = merge.commit(
        scene.hub, tree, (), "nobody names it", author_name="f", author_email="f@l", at=AT
    )
    for command in COMMANDS:
        git(scene.hub.path, *command, check=False)
    assert git(scene.hub.path, "cat-file", "-t", made) == "commit"
