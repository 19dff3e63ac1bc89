from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.process.command import run
from fleet.repo import workspace
from fleet.repo.hub import Hub
from tests.repo.scene import Scene, a_repository, commit, git, write


def test_an_agent_finds_an_ordinary_clone_on_its_branch(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = scene.attempt().work
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name)
    assert git(work, "symbolic-ref", "--short", "HEAD") == "fleet/t.1"
    assert git(work, "status", "--porcelain") == ""
    assert git(work, "log", "--format=%s") == "first"
    assert (work / "sub/b.txt").read_text() == "b\n"
    made = commit(work, {"new.txt": "n"})
    assert git(work, "show", "--no-patch", "--format=%an <%ae>", made) == "agent <agent@localhost>"


def test_it_knows_nothing_of_the_hubs_refs_and_has_no_remote(scene: Scene) -> None:
    scene.hub.set_ref("refs/fleet/attempts/other/1", scene.tip())
    work = scene.attempt().work
    assert git(work, "for-each-ref", "--format=%(refname)") == "refs/heads/fleet/t.1"
    assert git(work, "remote") == ""
    assert not (work / ".git/hooks").exists()


def test_what_test_runs_leave_behind_is_ignored(scene: Scene) -> None:
    work = scene.attempt().work
    write(work, {"pkg/__pycache__/a.pyc": "", ".hypothesis/x": ""})
    assert git(work, "status", "--porcelain") == ""


def test_eight_at_once_from_one_hub_all_succeed(scene: Scene) -> None:
    with ThreadPoolExecutor(8) as pool:
        attempts = list(pool.map(lambda _: scene.attempt(), range(8)))
    assert all(git(attempt.work, "status", "--porcelain") == "" for attempt in attempts)


def test_the_index_copy_keeps_its_time(scene: Scene) -> None:
    attempt = scene.attempt()
    copied, fresh = attempt.root / "index", attempt.work / ".git/index"
    assert copied.stat().st_mtime_ns == fresh.stat().st_mtime_ns


def test_a_shallow_history_ends_where_the_users_does(tmp_path: Path) -> None:
    commit(a_repository(tmp_path / "origin"), {"second": "2"}, "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{tmp_path}/origin", "shallow")
    hub = Hub(tmp_path / "hub.git")
    hub.create(tmp_path / "shallow/.git")
    workspace.create(
        hub,
        tmp_path / "work",
        base=hub.take(tmp_path / "shallow/.git", git(tmp_path / "shallow", "rev-parse", "HEAD")),
        branch="fleet/t.1",
        author_name="a",
        author_email="a@localhost",
        index_copy=tmp_path / "index",
    )
    assert git(tmp_path / "work", "log", "--format=%s") == "second"


def test_ignored_files_that_are_asked_for_are_copied(scene: Scene) -> None:
    write(
        scene.top,
        {
            ".gitignore": ".env\ncache/\nsecret\n",
            ".worktreeinclude": ".env\ncache/\nnotes.txt\n",
            ".env": "KEY=1",
            "cache/deep/er": "c",
            "secret": "ignored, not asked for",
            "notes.txt": "asked for, not ignored",
        },
    )
    (scene.top / ".env").chmod(0o600)
    work = scene.attempt().work
    assert workspace.include_ignored(scene.top, work) == 2
    assert (work / ".env").read_text() == "KEY=1"
    assert (work / ".env").stat().st_mode & 0o777 == 0o600
    assert (work / "cache/deep/er").read_text() == "c"
    assert not (work / "secret").exists()
    assert not (work / "notes.txt").exists()


def test_nothing_is_copied_without_being_asked_for(scene: Scene) -> None:
    write(scene.top, {".gitignore": ".env\n", ".env": "KEY=1"})
    work = scene.attempt().work
    assert workspace.include_ignored(scene.top, work) == 0
    assert not (work / ".env").exists()


def test_a_linked_worktree_of_the_user_is_copied_from_too(scene: Scene) -> None:
    git(scene.top, "worktree", "add", "--quiet", "-b", "other", "../other")
    other = scene.folder / "other"
    write(other, {".gitignore": ".env\n", ".worktreeinclude": ".env\n", ".env": "KEY=2"})
    work = scene.attempt().work
    assert workspace.include_ignored(other, work) == 1
    assert (work / ".env").read_text() == "KEY=2"


def test_copies_never_go_over_a_file_or_through_a_link(scene: Scene) -> None:
    outside = scene.folder / "outside"
    outside.mkdir()
    ignored = {".env": "user", "conf/.env": "user", "to-link/.env": "user"}
    names = ".env\n"
    write(scene.top, {".gitignore": names, ".worktreeinclude": names, **ignored})
    (scene.top / "sub/.env").symlink_to("/etc/passwd")
    work = scene.attempt().work
    (work / "to-link").symlink_to(outside)
    write(work, {".env": "there already"})
    assert workspace.include_ignored(scene.top, work) == 1
    assert (work / ".env").read_text() == "there already"
    assert (work / "conf/.env").read_text() == "user"
    assert list(outside.iterdir()) == []
    assert not os.path.lexists(work / "sub/.env")


def test_removing_does_not_follow_links(scene: Scene) -> None:
    outside = scene.folder / "outside"
    write(outside, {"kept": "kept"})
    attempt = scene.attempt()
    (attempt.work / "link").symlink_to(outside)
    workspace.remove(attempt.root, beneath=scene.folder)
    assert not attempt.root.exists()
    assert (outside / "kept").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="tries it as an ordinary user, whom only root can be")
def test_folders_an_agent_has_closed_are_removed(scene: Scene) -> None:
    room = scene.folder / "rooms"
    write(room / "a", {"closed/deep/file": "x", "also/file": "y"})
    for name in ("a/closed/deep", "a/closed", "a/also", "a"):
        (room / name).chmod(0o000)
    for path in (scene.folder, *scene.folder.parents):
        path.chmod(path.stat().st_mode | 0o055)
    run(("chown", "-R", "1000:1000", str(room)), cwd="/", env=dict(os.environ))
    child = os.fork()
    if child == 0:
        os.setgid(1000)
        os.setuid(1000)
        try:
            workspace.remove(room / "a", beneath=room)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert not (room / "a").exists()


def test_only_a_workspace_is_removed(scene: Scene) -> None:
    rooms = scene.folder / "in" / "rooms"
    write(rooms / "a", {"file": "x"})
    (rooms / "link").symlink_to(rooms / "a")
    for wrong in (rooms, rooms / "link", rooms / "a/..", rooms / "a/../..", rooms / "a/file"):
        with pytest.raises(FleetError, match="not removed"):
            workspace.remove(wrong, beneath=rooms)
    assert (rooms / "a/file").exists()
