from __future__ import annotations

import io
import os
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet.process.command import run
from fleet.repo.git import GitError
from fleet.repo.hub import Hub
from tests.repo.scene import Scene, a_repository, commit, git, write

NAMES = ["plain", "with space", "new\nline", "ünïcode", "-dash", 'quo"te', "tab\there", "deep/er/x"]


def test_it_has_objects_of_its_own_and_nothing_else_of_the_users(scene: Scene) -> None:
    assert scene.hub.has(git(scene.top, "rev-parse", "HEAD"))
    assert not (scene.hub.path / "objects/info/alternates").exists()
    assert git(scene.hub.path, "for-each-ref", "refs/heads", "refs/remotes") == ""
    assert git(scene.hub.path, "config", "--get-regexp", "^remote", check=False) == ""
    assert not (scene.hub.path / "hooks").exists()


def test_a_repository_that_borrows_objects_is_copied_in_full(tmp_path: Path) -> None:
    origin = a_repository(tmp_path / "origin")
    git(tmp_path, "clone", "--quiet", "--shared", "origin", "borrower")
    tip = commit(tmp_path / "borrower", {"c": "c"})
    hub = Hub(tmp_path / "hub.git")
    hub.create(tmp_path / "borrower/.git")
    shutil.rmtree(origin)
    shutil.rmtree(tmp_path / "borrower")
    assert git(hub.path, "fsck", "--full", "--connectivity-only", tip) == ""
    assert not (hub.path / "objects/info/alternates").exists()


def test_making_it_twice_changes_nothing(scene: Scene) -> None:
    scene.hub.set_ref("refs/fleet/mine", scene.tip())
    before = scene.hub.path.stat().st_ino
    scene.hub.create(scene.top / ".git")
    assert scene.hub.path.stat().st_ino == before
    assert scene.hub.read_ref("refs/fleet/mine") == scene.tip()


def test_of_many_that_make_it_at_once_one_does(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    hub = Hub(tmp_path / "fleet/hub.git")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: hub.create(top / ".git"), range(6)))
    assert hub.has(git(top, "rev-parse", "HEAD"))
    assert sorted(path.name for path in hub.path.parent.iterdir()) == ["hub.git", "hub.git.lock"]


def test_what_a_killed_process_left_of_it_is_not_taken_for_it(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    hub = Hub(tmp_path / "hub.git")
    (tmp_path / "hub.git.making/objects").mkdir(parents=True)
    hub.create(top / ".git")
    assert hub.has(git(top, "rev-parse", "HEAD"))
    assert not (tmp_path / "hub.git.making").exists()


def test_a_repository_without_commits_can_have_one(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "empty")
    hub = Hub(tmp_path / "hub.git")
    hub.create(tmp_path / "empty/.git")
    assert hub.refs("refs/") == {}
    first = commit(tmp_path / "empty", {"a": "a"})
    assert hub.take(tmp_path / "empty/.git", first) == first
    assert hub.has(first)


def test_it_keeps_the_users_excludes_and_what_test_runs_leave(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    write(top, {".git/info/exclude": "secret.txt\n"})
    hub = Hub(tmp_path / "hub.git")
    hub.create(top / ".git")
    excluded = (hub.path / "info/exclude").read_text().splitlines()
    assert {"secret.txt", "__pycache__/", ".pytest_cache/", ".hypothesis/"} <= set(excluded)


def test_a_commit_of_the_user_is_taken_and_stays_when_the_user_throws_it_away(
    scene: Scene,
) -> None:
    taken = commit(scene.top, {"new": "1"})
    assert not scene.hub.has(taken)
    scene.hub.take(scene.top / ".git", taken)
    git(scene.top, "reset", "--quiet", "--hard", "HEAD~1")
    git(scene.top, "reflog", "expire", "--expire=now", "--all")
    git(scene.top, "gc", "--quiet", "--prune=now")
    git(scene.hub.path, "gc", "--quiet", "--prune=now")
    assert git(scene.top, "cat-file", "-t", taken, check=False) == ""
    assert scene.hub.read_file(taken, "new") == b"1"


def test_commits_are_taken_by_many_at_once(scene: Scene) -> None:
    tips = [commit(scene.top, {"n": str(n)}) for n in range(4)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda tip: scene.hub.take(scene.top / ".git", tip), tips * 2))
    assert set(scene.hub.refs("refs/fleet/base/").values()) >= set(tips)


def test_half_a_fetch_is_not_taken_for_a_commit(scene: Scene) -> None:
    taken = commit(scene.top, {"new": "1"})
    before = _loose(scene.hub)
    scene.hub.take(scene.top / ".git", taken)
    assert _loose(scene.hub) == before  # a pack, which appears whole


def test_a_shallow_repository_will_do(tmp_path: Path) -> None:
    origin = a_repository(tmp_path / "origin")
    commit(origin, {"second": "2"})
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", "shallow")
    hub = Hub(tmp_path / "hub.git")
    hub.create(tmp_path / "shallow/.git")
    tip = commit(tmp_path / "shallow", {"third": "3"})
    hub.take(tmp_path / "shallow/.git", tip)
    assert hub.is_ancestor(git(origin, "rev-parse", "HEAD"), tip)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_owner_can_be_read_once_it_is_located(tmp_path: Path) -> None:
    top = a_repository(tmp_path / "repo")
    for path in (top, *top.rglob("*")):
        os.chown(path, 1000, 1000, follow_symlinks=False)
    hub = Hub(tmp_path / "hub.git")
    hub.create(top / ".git")
    assert hub.has(hub.take(top / ".git", (top / ".git/refs/heads/main").read_text().strip()))


def test_refs_move_only_from_where_they_were_expected(scene: Scene) -> None:
    first, second = scene.tip(), commit(scene.top, {"x": "x"})
    scene.hub.take(scene.top / ".git", second)
    assert scene.hub.read_ref("refs/fleet/r") is None
    assert scene.hub.set_ref("refs/fleet/r", first)
    assert not scene.hub.set_ref("refs/fleet/r", second, second)
    assert scene.hub.read_ref("refs/fleet/r") == first
    assert scene.hub.set_ref("refs/fleet/r", second, first)
    assert scene.hub.refs("refs/fleet/r") == {"refs/fleet/r": second}


def test_ancestry_is_answered_only_for_commits_it_has(scene: Scene) -> None:
    first = scene.tip()
    second = commit(scene.top, {"x": "x"})
    scene.hub.take(scene.top / ".git", second)
    assert scene.hub.is_ancestor(first, second)
    assert scene.hub.is_ancestor(second, second)
    assert not scene.hub.is_ancestor(second, first)
    assert scene.hub.first_parents(second, first) == (second,)
    with pytest.raises(GitError):
        scene.hub.is_ancestor(first, "1" * 40)


def test_files_of_a_commit_are_read_by_their_names(scene: Scene) -> None:
    tip = commit(scene.top, dict.fromkeys(NAMES, "text"))
    scene.hub.take(scene.top / ".git", tip)
    assert set(NAMES) < set(scene.hub.list_files(tip))
    assert all(scene.hub.read_file(tip, name) == b"text" for name in NAMES)
    assert scene.hub.read_file(tip, "absent") is None
    assert scene.hub.read_file(tip, "deep") is None
    assert scene.hub.read_files(tip, NAMES) == dict.fromkeys(NAMES, b"text")
    assert scene.hub.read_files(tip, []) == {}
    assert scene.hub.read_files(tip, ["absent", *NAMES, "ab\nsent"]) == dict.fromkeys(
        NAMES, b"text"
    )
    with pytest.raises(GitError):
        scene.hub.read_files(tip, ["deep"])


def test_a_clean_checkout_is_what_git_archive_gives(scene: Scene, tmp_path: Path) -> None:
    write(scene.top, dict.fromkeys(NAMES, "text"))
    (scene.top / "run.sh").write_text("#!/bin/sh\n")
    (scene.top / "run.sh").chmod(0o755)
    (scene.top / "link").symlink_to("no/where")
    tip = commit(scene.top)
    scene.hub.take(scene.top / ".git", tip)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    scene.hub.materialise(scene.hub.tree_of(tip), ours)
    archive = run(("git", "archive", tip), cwd=scene.top, env=dict(os.environ)).out
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(theirs, filter="data")
    assert _listing(ours) == _listing(theirs)
    assert not (ours / ".git").exists()
    assert sorted(tmp_path.glob("ours*")) == [ours]


def test_no_filter_runs_for_a_clean_checkout(scene: Scene, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for where in ("--local", "--global"):
        git(scene.top, "config", where, "filter.x.smudge", f"touch {ran}; cat")
    tip = commit(scene.top, {".gitattributes": "*.txt filter=x\n"})
    scene.hub.take(scene.top / ".git", tip)
    (tmp_path / "into").mkdir()
    scene.hub.materialise(tip, tmp_path / "into")
    assert (tmp_path / "into/a.txt").read_text() == "a\n"
    assert not ran.exists()


def test_checkouts_of_one_hub_can_be_made_side_by_side(scene: Scene, tmp_path: Path) -> None:
    tree = scene.hub.tree_of(scene.tip())
    folders = [tmp_path / f"checkout{n}" for n in range(8)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda folder: scene.hub.materialise(tree, folder), folders))
    assert all((folder / "sub/b.txt").read_text() == "b\n" for folder in folders)


def test_garbage_collection_is_off(scene: Scene) -> None:
    assert git(scene.hub.path, "config", "--local", "gc.auto") == "0"
    assert git(scene.hub.path, "config", "--local", "gc.pruneExpire") == "never"


def _loose(hub: Hub) -> int:
    return sum(1 for path in hub.objects.glob("??/*") if path.is_file())


def _listing(top: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = (0, os.fsencode(path.readlink()))
        elif path.is_file():
            found[name] = (path.stat().st_mode & 0o100, path.read_bytes())
    return found


def test_what_a_killed_git_had_half_written_goes_and_what_is_being_written_stays(
    scene: Scene,
) -> None:
    folder = scene.hub.objects / "ab"
    folder.mkdir(exist_ok=True)
    old, new = folder / "tmp_obj_old", folder / "tmp_obj_new"
    for half in (old, new):
        half.write_bytes(b"half")
    os.utime(old, (1, 1))
    scene.hub.tidy()
    assert (old.exists(), new.exists()) == (False, True)
