"""What has landed in the user's checkout, and the user's own git there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.repo import workspace
from fleet.repo.branch import Advance
from tests.repo.scene import Scene, commit, git, write

DRIVERS = ("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "merge.evil.driver")


def _land(scene: Scene, files: dict[str, str]) -> Advance:
    old, new = scene.tip(), scene.landing(files)
    scene.target.send(scene.hub, new)
    return scene.target.advance(old, new)


def test_attributes_name_only_drivers_that_the_user_has_defined(
    scene: Scene, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    lines = "".join(
        f'[{key.split(".")[0]} "evil"]\n\t{key.split(".")[2]} = touch {ran}; cat\n'
        for key in DRIVERS
    )
    files = {
        ".gitattributes": "* filter=evil diff=evil merge=evil\n",
        ".gitconfig": lines,
        ".lfsconfig": "[lfs]\n\turl = https://example.org\n" + lines,
        "config": lines,
        "a.txt": "landed\n",
    }
    assert _land(scene, files) is Advance.MOVED
    write(scene.top, {"a.txt": "mine\n"})
    for command in (("status",), ("diff",), ("stash",), ("log", "-p"), ("checkout", ".")):
        git(scene.top, *command)
    assert not ran.exists()
    for key in DRIVERS:  # the other way round: what the user defines is what runs
        git(scene.top, "config", key, f"touch {ran}; cat")
    write(scene.top, {"a.txt": "mine\n"})
    git(scene.top, "diff")
    assert ran.exists()


@pytest.mark.parametrize("place", [".husky/pre-commit", "hooks/post-checkout", ".githooks/x"])
def test_hooks_in_the_tree_are_files_like_any_other(
    scene: Scene, tmp_path: Path, place: str
) -> None:
    ran = tmp_path / "ran"
    assert _land(scene, {place: f"#!/bin/sh\ntouch {ran}\n"}) is Advance.MOVED
    commit(scene.top, {"mine": "m"})
    git(scene.top, "checkout", "--quiet", "-b", "other")
    assert not ran.exists()


def test_a_link_in_the_users_checkout_is_not_written_through(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    commit(scene.top, {"folder/x": "x\n"})
    old, new = scene.tip(), scene.landing({"folder/x": "landed\n", "folder/y": "y\n"})
    scene.target.send(scene.hub, new)
    (scene.top / "folder/x").unlink()
    (scene.top / "folder").rmdir()
    (scene.top / "folder").symlink_to(tmp_path / "elsewhere")
    assert scene.target.advance(old, new) is Advance.BLOCKED
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_ignored_files_are_not_copied_through_links_of_the_repository(
    scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path, {"secret": "SECRET"})
    write(scene.top, {".worktreeinclude": "kept/*\nlink\n", ".gitignore": "kept/\nlink\n"})
    write(scene.top, {"kept/env": "e"})
    (scene.top / "link").symlink_to(tmp_path / "secret")
    into = tmp_path / "into"
    into.mkdir()
    (into / "kept").symlink_to(tmp_path / "elsewhere")
    assert workspace.include_ignored(scene.top, into) == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (into / "link").exists()
