from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.repo.branch import INCOMING, Advance, Target
from fleet.repo.git import GitError, locate
from fleet.repo.tip import accepted
from tests.repo.scene import Scene, commit, git, write


def _sent(scene: Scene, files: dict[str, str] | None = None) -> tuple[str, str]:
    """Where the branch is, and a commit on top of it that the user's repository has."""
    new = scene.landing(files or {"a.txt": "landed\n", "new": "n"})
    scene.target.send(scene.hub, new)
    return git(scene.top, "rev-parse", "main"), new


def _status(top: Path) -> str:
    return git(top, "status", "--porcelain", "--untracked-files=all")


def test_a_clean_checkout_follows_the_branch(scene: Scene) -> None:
    old, new = _sent(scene)
    assert scene.target.advance(old, new) is Advance.MOVED
    assert scene.target.tip() == new
    assert (scene.top / "a.txt").read_text() == "landed\n"
    assert _status(scene.top) == ""


def test_what_was_sent_is_kept_until_the_branch_points_there(scene: Scene) -> None:
    old, new = _sent(scene)
    assert git(scene.top, "rev-parse", INCOMING) == new
    git(scene.top, "gc", "--quiet", "--prune=now")
    scene.target.advance(old, new)
    assert git(scene.top, "for-each-ref", "refs/fleet") == ""


def test_the_user_can_see_the_move_in_the_reflog(scene: Scene) -> None:
    old, new = _sent(scene)
    scene.target.advance(old, new)
    assert "fleet: landed" in git(scene.top, "reflog", "main")


def test_untracked_files_that_are_not_in_the_way_stay(scene: Scene) -> None:
    old, new = _sent(scene)
    write(scene.top, {"notes": "mine"})
    assert scene.target.advance(old, new) is Advance.MOVED
    assert _status(scene.top) == "?? notes"


@pytest.mark.parametrize("staged", [False, True])
def test_a_dirty_checkout_blocks(scene: Scene, *, staged: bool) -> None:
    old, new = _sent(scene)
    write(scene.top, {"sub/b.txt": "mine\n"})
    if staged:
        git(scene.top, "add", "--all")
    before = _status(scene.top)
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert (scene.target.tip(), _status(scene.top)) == (old, before)


@pytest.mark.parametrize("ignored", [False, True])
def test_an_untracked_file_in_the_way_blocks(scene: Scene, *, ignored: bool) -> None:
    if ignored:
        commit(scene.top, {".gitignore": "new\n"})
        attempt = scene.attempt()
        write(attempt.work, {"new": "n"})
        git(attempt.work, "add", "--force", "new")
        git(attempt.work, "commit", "--quiet", "--message", "forced")
        old, new = attempt.base, attempt.harvest().head
        scene.target.send(scene.hub, new)
    else:
        old, new = _sent(scene)
    write(scene.top, {"new": "mine"})
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert scene.target.tip() == old
    assert "fleet" not in git(scene.top, "reflog", "main")  # seen before anything moved
    assert (scene.top / "new").read_text() == "mine"


def test_files_and_folders_may_change_places(scene: Scene) -> None:
    commit(scene.top, {"file": "f", "folder/x": "x"})
    attempt = scene.attempt()
    shutil.rmtree(attempt.work / "folder")
    (attempt.work / "file").unlink()
    write(attempt.work, {"folder": "now a file", "file/x": "now a folder"})
    new = attempt.harvest().head
    scene.target.send(scene.hub, new)
    assert scene.target.advance(attempt.base, new) is Advance.MOVED
    assert (scene.top / "file/x").read_text() == "now a folder"
    assert _status(scene.top) == ""


@pytest.mark.parametrize("mine", ["folder", "folder/x/mine"])
def test_ignored_files_where_a_folder_or_file_is_to_be_block(scene: Scene, mine: str) -> None:
    write(scene.top, {".git/info/exclude": "folder\n", mine: "mine"})
    old, new = _sent(scene, {"folder/x": "x"})
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert (scene.top / mine).read_text() == "mine"


def test_touched_files_with_the_same_content_do_not_block(scene: Scene) -> None:
    old, new = _sent(scene)
    os.utime(scene.top / "a.txt", (1, 1))
    assert scene.target.advance(old, new) is Advance.MOVED
    assert _status(scene.top) == ""


@pytest.mark.parametrize("busy", ["MERGE_HEAD", "CHERRY_PICK_HEAD", "rebase-merge"])
def test_a_merge_or_rebase_in_progress_blocks(scene: Scene, busy: str) -> None:
    old, new = _sent(scene)
    write(scene.top, {f".git/{busy}": old})
    assert scene.target.advance(old, new) is Advance.BLOCKED


def test_a_rebase_of_the_branch_blocks_although_head_is_detached(scene: Scene) -> None:
    old, new = _sent(scene)
    git(scene.top, "checkout", "--quiet", "--detach")
    write(scene.top, {".git/rebase-merge/head-name": "refs/heads/main\n"})
    assert scene.target.advance(old, new) is Advance.BLOCKED
    write(scene.top, {".git/rebase-merge/head-name": "refs/heads/other\n"})
    assert scene.target.advance(old, new) is Advance.MOVED


def test_a_branch_that_has_moved_is_raced_even_if_its_checkout_is_dirty(scene: Scene) -> None:
    old, new = _sent(scene)
    theirs = commit(scene.top, {"a.txt": "theirs\n"})
    write(scene.top, {"a.txt": "dirty\n"})
    assert scene.target.advance(old, new) is Advance.RACED
    assert scene.target.tip() == theirs


def test_a_branch_that_moves_between_the_look_and_the_move_is_raced(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = _sent(scene)
    swap = Target._swap
    moved: list[str] = []

    def too_late(target: Target, old: str, new: str) -> Advance:
        moved.append(commit(scene.top, {"sub/b.txt": "theirs\n"}))
        return swap(target, old, new)

    monkeypatch.setattr(Target, "_swap", too_late)
    assert scene.target.advance(old, new) is Advance.RACED
    assert scene.target.tip() == moved[0]
    assert _status(scene.top) == ""


def test_of_two_that_land_on_the_same_tip_one_does(scene: Scene) -> None:
    old = scene.tip()
    one, two = scene.landing({"one": "1"}), scene.landing({"two": "2"})
    for new in (one, two):
        scene.target.send(scene.hub, new)
    assert scene.target.advance(old, one) is Advance.MOVED
    assert scene.target.advance(old, two) is Advance.RACED
    assert scene.target.tip() == one


def test_every_checkout_of_the_branch_follows(scene: Scene) -> None:
    git(scene.top, "checkout", "--quiet", "-b", "elsewhere")
    git(scene.top, "worktree", "add", "--quiet", "../second tree", "main")
    git(scene.top, "worktree", "add", "--quiet", "--force", "../third", "main")
    old, new = _sent(scene)
    assert scene.target.advance(old, new) is Advance.MOVED
    for name in ("second tree", "third"):
        assert (scene.folder / name / "a.txt").read_text() == "landed\n"
        assert _status(scene.folder / name) == ""
    assert (scene.top / "a.txt").read_text() == "a\n"


def test_one_dirty_checkout_of_several_blocks_all(scene: Scene) -> None:
    git(scene.top, "worktree", "add", "--quiet", "--force", "../second", "main")
    old, new = _sent(scene)
    write(scene.folder / "second", {"a.txt": "mine\n"})
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert _status(scene.top) == ""


def test_a_checkout_that_is_gone_does_not_block(scene: Scene) -> None:
    git(scene.top, "checkout", "--quiet", "-b", "elsewhere")
    git(scene.top, "worktree", "add", "--quiet", "../gone", "main")
    shutil.rmtree(scene.folder / "gone")
    old, new = _sent(scene)
    assert scene.target.advance(old, new) is Advance.MOVED


def test_a_bare_repository_is_advanced(scene: Scene) -> None:
    old, new = _sent(scene)
    git(scene.folder, "clone", "--quiet", "--bare", "user", "bare.git")
    target = Target(scene.folder / "bare.git", "main")
    target.send(scene.hub, new)
    assert target.checkouts() == ()
    assert target.advance(old, new) is Advance.MOVED
    assert target.tip() == new


def test_a_submodules_own_checkout_is_found(scene: Scene) -> None:
    git(scene.folder, "init", "--quiet", "super")
    top = scene.folder / "super"
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../user", "lib")
    git(top, *add)
    places = locate(top / "lib")
    target = Target(places.common_dir, Target.current(places.git_dir))
    assert [place.path.resolve() for place in target.checkouts()] == [top / "lib"]


def test_a_checkout_that_cannot_follow_after_all_takes_the_move_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(scene.top, "worktree", "add", "--quiet", "--force", "../second", "main")
    old, new = _sent(scene)
    swap = Target._swap

    def and_the_user_writes(target: Target, old: str, new: str) -> Advance:
        done = swap(target, old, new)
        write(scene.folder / "second", {"new": "mine"})
        return done

    monkeypatch.setattr(Target, "_swap", and_the_user_writes)
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert scene.target.tip() == old
    assert _status(scene.top) == ""
    assert _status(scene.folder / "second") == "?? new"


def test_a_move_cut_off_after_the_ref_is_finished(scene: Scene) -> None:
    old, new = _sent(scene)
    git(scene.top, "update-ref", "refs/heads/main", new)
    assert _status(scene.top) != ""  # reverse changes
    for _ in range(2):
        scene.target.repair(old, new)
        assert _status(scene.top) == ""
        assert (scene.top / "a.txt").read_text() == "landed\n"


def test_a_repair_leaves_what_the_user_has_changed(scene: Scene) -> None:
    old, new = _sent(scene)
    git(scene.top, "update-ref", "refs/heads/main", new)
    write(scene.top, {"a.txt": "mine\n"})
    scene.target.repair(old, new)
    assert (scene.top / "a.txt").read_text() == "mine\n"
    assert not (scene.top / "new").exists()


def test_a_repair_before_the_ref_moved_does_nothing(scene: Scene) -> None:
    old, new = _sent(scene)
    scene.target.repair(old, new)
    assert (scene.target.tip(), _status(scene.top)) == (old, "")


def test_no_hook_of_the_user_runs(scene: Scene) -> None:
    ran = scene.folder / "ran"
    for name in ("reference-transaction", "post-checkout", "post-merge", "post-index-change"):
        write(scene.top, {f".git/hooks/{name}": f"#!/bin/sh\ntouch {ran}\n"})
        (scene.top / ".git/hooks" / name).chmod(0o755)
    old, new = _sent(scene)
    assert scene.target.advance(old, new) is Advance.MOVED
    assert not ran.exists()


def test_the_users_own_filters_write_their_files(scene: Scene) -> None:
    git(scene.top, "config", "--global", "filter.up.smudge", "tr a-z A-Z")
    git(scene.top, "config", "--global", "filter.up.clean", "tr A-Z a-z")
    commit(scene.top, {".gitattributes": "*.up filter=up\n"})
    old, new = _sent(scene, {"x.up": "small\n"})
    assert scene.target.advance(old, new) is Advance.MOVED
    assert (scene.top / "x.up").read_text() == "SMALL\n"
    assert _status(scene.top) == ""


def test_results_wait_on_a_branch_of_their_own(scene: Scene) -> None:
    base, new = _sent(scene)
    target = scene.target
    assert target.landed() is None
    assert target.set_landed(new, None)
    assert not target.set_landed(base, None)
    assert target.landed() == git(scene.top, "rev-parse", "fleet/landed") == new
    assert not target.drop_landed("1" * 40)
    assert target.drop_landed(new)
    assert target.landed() is None


def test_a_branch_called_fleet_is_in_the_way_and_the_error_says_so(scene: Scene) -> None:
    _, new = _sent(scene)
    git(scene.top, "branch", "fleet")
    with pytest.raises(GitError, match="no branch of yours called fleet"):
        scene.target.set_landed(new, None)


def test_a_detached_head_is_an_error_that_says_what_to_do(scene: Scene) -> None:
    assert Target.current(scene.top / ".git") == "main"
    git(scene.top, "checkout", "--quiet", "--detach")
    with pytest.raises(FleetError, match=r"HEAD is detached: check out the branch"):
        Target.current(scene.top / ".git")


def test_a_branch_without_commits_is_an_error_that_says_what_to_do(scene: Scene) -> None:
    git(scene.folder, "init", "--quiet", "--initial-branch=trunk", "empty")
    target = Target(scene.folder / "empty/.git", Target.current(scene.folder / "empty/.git"))
    assert (target.branch, target.tip()) == ("trunk", None)
    with pytest.raises(FleetError, match="make a first commit"):
        accepted(target, scene.hub)
