"""A git of ours that is killed: asked again, and never misread."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fleet.repo.branch import Advance
from fleet.repo.git import Git, GitError
from tests.repo.scene import Scene, a_repository, a_scene, commit, git


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return a_scene(tmp_path)


def a_git_that_is_killed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    verb: str,
    times: int,
    after: bool = False,
    leaving: str = "",
) -> None:
    """On PATH: it dies at the first `times` commands with that word, before or after its work."""
    real, asked = shutil.which("git"), folder / "asked"
    wrapper = folder / "killed" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f"""#!/bin/sh
case " $* " in *" {verb} "*) ;; *) exec {real} "$@" ;; esac
echo x >> {asked}
[ $(wc -l < {asked}) -gt {times} ] && exec {real} "$@"
{leaving}
{"" if after else "kill -9 $$"}
{real} "$@"
kill -9 $$
""")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")


def test_a_git_that_is_killed_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = a_repository(tmp_path / "repo")
    tip = git(top, "rev-parse", "main")
    a_git_that_is_killed(tmp_path, monkeypatch, verb="rev-parse", times=2)
    assert Git(git_dir=top / ".git").run("rev-parse", "main", check=False).text == tip


def test_a_git_that_is_killed_every_time_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = a_repository(tmp_path / "repo")
    a_git_that_is_killed(tmp_path, monkeypatch, verb="rev-parse", times=99)
    with pytest.raises(GitError, match="rev-parse"):
        Git(git_dir=top / ".git").run("rev-parse", "main", check=False)


def test_a_branch_that_a_killed_git_has_moved_is_not_taken_for_raced(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = git(scene.top, "rev-parse", "main"), scene.landing({"new": "n"})
    scene.target.send(scene.hub, new)
    a_git_that_is_killed(tmp_path, monkeypatch, verb="update-ref", times=1, after=True)
    assert scene.target.advance(old, new) is Advance.MOVED
    assert git(scene.top, "rev-parse", "main") == new
    assert git(scene.top, "status", "--porcelain") == ""


def test_a_landed_ref_that_a_killed_git_has_set_is_set(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = scene.landing({"new": "n"})
    scene.target.send(scene.hub, new)
    a_git_that_is_killed(tmp_path, monkeypatch, verb="update-ref", times=1, after=True)
    assert scene.target.set_landed(new, None)


def test_a_landing_leaves_no_ref_of_ours_in_the_users_repository(scene: Scene) -> None:
    old, new = git(scene.top, "rev-parse", "main"), scene.landing({"new": "n"})
    scene.target.send(scene.hub, new)
    assert scene.target.advance(old, new) is Advance.MOVED
    assert git(scene.top, "for-each-ref", "refs/fleet") == ""


def test_the_index_lock_of_a_killed_git_is_in_nobodys_way_at_the_harvest(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = scene.attempt()
    (attempt.work / "new.txt").write_text("new")
    leaving = 'touch "$GIT_INDEX_FILE.lock"'
    a_git_that_is_killed(tmp_path, monkeypatch, verb="add", times=1, leaving=leaving)
    taken = attempt.harvest()
    assert (taken.problem, taken.changed) == ("", True)
    assert git(scene.hub.path, "show", f"{taken.head}:new.txt") == "new"


@pytest.mark.parametrize(
    "leaving",
    [
        'for word; do case "$word" in *.bundle) touch "$word.lock" ;; esac; done',
        'echo "error: pack-objects died" >&2; exit 128',  # a child of its was killed
    ],
)
def test_the_commits_that_a_killed_git_was_bundling_are_bundled_again(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaving: str
) -> None:
    attempt = scene.attempt()
    made = commit(attempt.work, {"new.txt": "new"})
    a_git_that_is_killed(tmp_path, monkeypatch, verb="bundle", times=1, leaving=leaving)
    taken = attempt.harvest()
    assert (taken.problem, taken.head) == ("", made)
