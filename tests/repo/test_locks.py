"""Locks that a killed git has left, planted one by one, in the hub and in the user's repository."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from fleet.repo import locks
from fleet.repo.branch import INCOMING, LANDED, Advance
from fleet.repo.git import GitError
from tests.repo.scene import Scene, commit, git, write

SEEN = "refs/fleet/seen"
OF_A_MOVE = ("refs/heads/main.lock", "HEAD.lock", "index.lock", "packed-refs.lock")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEFT_FOR_S", 0.1)
    monkeypatch.setattr("fleet.repo.branch.LOCK_S", 0.1)


def _plant(git_dir: Path, name: str) -> Path:
    lock = git_dir / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    return lock


def test_a_ref_of_the_hub_that_a_killed_process_left_locked_moves_again(scene: Scene) -> None:
    lock = _plant(scene.hub.path, f"{SEEN}.lock")
    assert scene.hub.set_ref(SEEN, scene.tip())
    assert not lock.exists()


def test_a_fetch_into_the_hub_is_not_held_up_by_a_killed_one(scene: Scene) -> None:
    new = commit(scene.top, {"new": "n"})
    _plant(scene.hub.path, f"refs/fleet/base/{new}.lock")
    assert scene.hub.take(scene.top / ".git", new) == new
    assert scene.hub.has(new)


def test_nor_is_a_harvest(scene: Scene) -> None:
    attempt = scene.attempt()
    head = commit(attempt.work, {"one": "1"})
    _plant(scene.hub.path, f"{attempt.ref}.lock")
    assert attempt.harvest().head == head


@pytest.mark.parametrize(
    "name", ["packed-refs.lock", "packed-refs.new", "HEAD.lock", "config.lock"]
)
def test_locks_of_the_hub_that_nobody_met_are_tidied_away(scene: Scene, name: str) -> None:
    lock = _plant(scene.hub.path, name)
    scene.hub.set_ref(SEEN, scene.tip())
    scene.hub.tidy()
    assert not lock.exists()
    git(scene.hub.path, "pack-refs", "--all")


def test_a_lock_goes_only_when_no_git_of_ours_is_at_work(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "ALONE_WITHIN_S", 0.2)
    lock = _plant(scene.hub.path, f"{SEEN}.lock")
    with locks.shared(scene.hub.path) as fd:  # as whoever starts a git; then he is killed
        heir = subprocess.Popen(["sleep", "60"], pass_fds=(fd,))
    assert not locks.clear(scene.hub.path)
    assert lock.exists()
    heir.kill()
    heir.wait()
    assert locks.clear(scene.hub.path)
    assert not lock.exists()


def test_a_lock_that_was_made_anew_meanwhile_is_somebodys(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEFT_FOR_S", 1.0)
    lock = _plant(scene.hub.path, f"{SEEN}.lock")

    def another_takes_it() -> None:
        lock.unlink()
        lock.write_text("")
        os.utime(lock, ns=(5, 5))

    timer = threading.Timer(0.2, another_takes_it)
    timer.start()
    locks.clear(scene.hub.path)
    timer.join()
    assert lock.exists()


def test_an_older_hub_is_made_to_keep_its_objects(scene: Scene) -> None:
    git(scene.hub.path, "config", "--unset", "extensions.preciousObjects")
    scene.hub.tidy()
    scene.hub.tidy()
    assert git(scene.hub.path, "config", "extensions.preciousObjects") == "true"


@pytest.mark.parametrize("name", OF_A_MOVE)
def test_a_lock_in_the_users_repository_stays_and_results_wait(scene: Scene, name: str) -> None:
    old, new = scene.tip(), scene.landing({"new": "n"})
    lock = _plant(scene.top / ".git", name)
    scene.target.send(scene.hub, new)
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert str(lock) in scene.target.in_the_way()
    assert "remove that file" in scene.target.in_the_way()
    assert scene.target.set_landed(new, None)
    assert (scene.target.tip(), lock.exists()) == (old, True)
    lock.unlink()
    assert scene.target.in_the_way() == ""
    assert scene.target.advance(old, new) is Advance.MOVED
    assert git(scene.top, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock"])
def test_so_does_one_in_another_checkout_of_the_branch(scene: Scene, name: str) -> None:
    git(scene.top, "checkout", "--quiet", "--detach")
    git(scene.top, "worktree", "add", "--quiet", "../second", "main")
    old, new = scene.tip(), scene.landing({"new": "n"})
    lock = _plant(scene.top / ".git/worktrees/second", name)
    scene.target.send(scene.hub, new)
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert str(lock) in scene.target.in_the_way()


def test_a_lock_that_goes_by_itself_holds_nothing_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.repo.branch.LOCK_S", 30.0)
    old, new = scene.tip(), scene.landing({"new": "n"})
    scene.target.send(scene.hub, new)
    lock = _plant(scene.top / ".git", "index.lock")
    timer = threading.Timer(0.2, lock.unlink)
    timer.start()
    assert scene.target.advance(old, new) is Advance.MOVED
    timer.join()


@pytest.mark.parametrize("ref", [INCOMING, LANDED])
def test_locks_of_refs_that_are_ours_alone_are_removed_there_too(scene: Scene, ref: str) -> None:
    old, new = scene.tip(), scene.landing({"new": "n"})
    lock = _plant(scene.top / ".git", f"{ref}.lock")
    scene.target.send(scene.hub, new)
    assert scene.target.set_landed(new, None)
    assert not lock.exists()
    lock.touch()
    assert scene.target.advance(old, new) is Advance.MOVED
    assert scene.target.drop_landed(new)


def test_an_error_names_the_lock_and_what_to_do(scene: Scene) -> None:
    lock = _plant(scene.top / ".git", "packed-refs.lock")
    with pytest.raises(GitError, match=f"{lock} is in the way: if no git is at work there"):
        scene.target.git.run("pack-refs", "--all")
    assert lock.exists()


def test_a_cut_off_move_is_finished_once_the_lock_is_gone(scene: Scene) -> None:
    old, new = scene.tip(), scene.landing({"a.txt": "landed\n"})
    scene.target.send(scene.hub, new)
    git(scene.top, "update-ref", "refs/heads/main", new)
    lock = _plant(scene.top / ".git", "index.lock")  # its git was killed at it
    assert not scene.target.repair(old, new)
    lock.unlink()
    assert scene.target.repair(old, new)
    assert (scene.top / "a.txt").read_text() == "landed\n"
    assert git(scene.top, "status", "--porcelain") == ""


def test_a_checkout_with_a_lock_and_changes_of_its_own_keeps_both(scene: Scene) -> None:
    old, new = scene.tip(), scene.landing({"a.txt": "landed\n"})
    write(scene.top, {"a.txt": "mine\n"})
    lock = _plant(scene.top / ".git", "index.lock")
    scene.target.send(scene.hub, new)
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert (scene.top / "a.txt").read_text() == "mine\n"
    assert lock.exists()
