"""What lies in a workspace when its agent has ended, to hold up or mislead whoever takes it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from fleet.repo import workspace
from tests.repo.scene import Scene, commit, git, write

ODD = {
    "case": ".GIT/config",
    "short": "git~1/config",
    "space": ".git /config",
    "dot": ".git./config",
    "invisible": ".g\u200cit/config",
    "stream": ".git::$INDEX_ALLOCATION/config",
    "nested": "sub/.Git/hooks/post-checkout",
}


@pytest.mark.parametrize(
    "place",
    [".gitattributes", "sub/.gitignore", ".gitignore", "nested/.git/HEAD", "nested/.git/config"],
)
def test_a_pipe_does_not_hold_git_up(scene: Scene, place: str) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"good": "g", "nested/file": "x"})
    git(attempt.work / "nested", "init", "--quiet")
    (attempt.work / place).unlink(missing_ok=True)
    os.mkfifo(attempt.work / place)
    began = time.monotonic()
    got = attempt.harvest()
    assert time.monotonic() - began < 60.0  # git's own time-out is five minutes
    assert scene.hub.read_file(got.head, "good") == b"g"


def test_pipes_and_sockets_anywhere_are_no_files(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = scene.attempt()
    write(attempt.work, {"locked/good": "g"})
    os.mkfifo(attempt.work / "locked/pipe")
    monkeypatch.chdir(attempt.work)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    (attempt.work / "locked").chmod(0o500)
    got = attempt.harvest()
    assert scene.hub.list_files(got.head) == ("a.txt", "locked/good", "sub/b.txt")


def test_links_are_taken_as_links_and_never_followed(scene: Scene, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"secret": "SECRET", "deep/er": "SECRET"})
    attempt = scene.attempt()
    for number in range(50):
        (attempt.work / f"link{number}").symlink_to(tmp_path / "elsewhere")
    (attempt.work / "loop").symlink_to("loop")
    (attempt.work / "up").symlink_to("..")
    (attempt.work / "a.txt").unlink()
    (attempt.work / "a.txt").symlink_to(tmp_path / "elsewhere/secret")
    (attempt.work / "sub").rename(attempt.work / "was")
    (attempt.work / "sub").symlink_to(tmp_path / "elsewhere")
    got = attempt.harvest()
    assert got.problem == ""
    names = set(scene.hub.list_files(got.head))
    assert names == {*(f"link{n}" for n in range(50)), "loop", "up", "a.txt", "sub", "was/b.txt"}
    assert scene.hub.read_file(got.head, "a.txt") == os.fsencode(tmp_path / "elsewhere/secret")
    listed = git(scene.hub.path, "ls-tree", got.head, "sub")
    assert listed.startswith("120000 ")


def test_links_for_gitattributes_and_gitignore_are_not_read(scene: Scene, tmp_path: Path) -> None:
    write(tmp_path, {"ignore": "*\n", "attributes": "* working-tree-encoding=UTF-16\n"})
    attempt = scene.attempt()
    (attempt.work / ".gitignore").symlink_to(tmp_path / "ignore")
    (attempt.work / ".gitattributes").symlink_to(tmp_path / "attributes")
    write(attempt.work, {"good": "g"})
    got = attempt.harvest()
    assert scene.hub.read_file(got.head, "good") == b"g"


def test_nothing_is_written_through_a_hard_link(scene: Scene, tmp_path: Path) -> None:
    write(tmp_path, {"precious": "mine\n"})
    attempt = scene.attempt()
    (attempt.work / "a.txt").unlink()
    os.link(tmp_path / "precious", attempt.work / "a.txt")
    os.link(tmp_path / "precious", attempt.work / ".git/packed-refs")
    before = (tmp_path / "precious").stat()
    got = attempt.harvest()
    workspace.remove(attempt.root, beneath=scene.folder)
    after = (tmp_path / "precious").stat()
    assert got.changed
    assert (tmp_path / "precious").read_text() == "mine\n"
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_names_that_git_takes_for_its_own_are_not_taken(scene: Scene, name: str) -> None:
    attempt = scene.attempt()
    write(attempt.work, {name: "[core]\n\tfsmonitor = false\n", "good": "g"})
    got = attempt.harvest()
    assert "invalid path" in got.problem
    assert scene.hub.list_files(got.head) == ("a.txt", "good", "sub/b.txt")


def test_a_big_file_is_left_out_before_it_is_read(scene: Scene) -> None:
    attempt = scene.attempt()
    with (attempt.work / "big").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    write(attempt.work, {"good": "g"})
    before = _size(scene.hub.objects)
    got = attempt.harvest(max_file_bytes=100_000_000)
    assert got.problem == "big has 1099511.6 MB; the limit is 100.0 MB (max_file_mb)"
    assert scene.hub.list_files(got.head) == ("a.txt", "good", "sub/b.txt")
    assert _size(scene.hub.objects) - before < 100_000


def test_a_big_file_that_is_ignored_or_was_there_is_nobodys_business(scene: Scene) -> None:
    commit(scene.top, {"was": "x" * 20_000, ".gitignore": "cache/\n"})
    attempt = scene.attempt()
    write(attempt.work, {"cache/big": "x" * 20_000, "good": "g"})
    got = attempt.harvest(max_file_bytes=10_000)
    assert got.problem == ""
    assert set(scene.hub.list_files(got.head)) == {
        ".gitignore",
        "a.txt",
        "good",
        "sub/b.txt",
        "was",
    }


def test_files_that_together_are_too_much_are_not_taken(scene: Scene) -> None:
    attempt = scene.attempt()
    head = commit(attempt.work, {"done": "d"})
    write(attempt.work, {f"n{n}": "x" * 60_000 for n in range(20)})
    before = _size(scene.hub.objects)
    got = attempt.harvest(max_bytes=1_000_000)
    assert got.head == head
    assert got.problem.startswith("it left 20 uncommitted files of 1 MB; the most that is taken")
    assert _size(scene.hub.objects) - before < 100_000


def test_more_files_than_anybody_wants_are_not_taken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.repo.survey.MAX_FILES", 100)
    attempt = scene.attempt()
    write(attempt.work, {f"n{n}": "" for n in range(101)})
    got = attempt.harvest()
    assert (got.head, got.changed) == (attempt.base, False)
    assert "it left 101 uncommitted files" in got.problem


def test_folders_beyond_all_depth_are_reported_and_removed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = scene.attempt()
    monkeypatch.chdir(attempt.work)
    for _ in range(1200):  # more than Python recurses, and longer than a path may be
        Path("folder").mkdir()
        os.chdir("folder")
    Path("file").write_text("x")
    monkeypatch.chdir(scene.folder)
    write(attempt.work, {"good": "g"})
    got = attempt.harvest()
    assert "folders too deep for git" in got.problem
    assert scene.hub.read_file(got.head, "good") == b"g"
    workspace.remove(attempt.root, beneath=scene.folder)
    assert not attempt.root.exists()


def test_an_ignore_file_hides_new_files_but_no_change(scene: Scene) -> None:
    attempt = scene.attempt()
    write(attempt.work, {".gitignore": "*\n", "hidden": "h", "a.txt": "changed\n"})
    got = attempt.harvest()
    assert got.problem == ""
    assert scene.hub.read_file(got.head, "a.txt") == b"changed\n"
    assert scene.hub.read_file(got.head, "hidden") is None


def test_built_in_attributes_convert_and_run_nothing(scene: Scene) -> None:
    attempt = scene.attempt()
    attributes = (
        "*.id ident\n*.crlf text eol=crlf\n*.x export-subst filter=lfs diff=lfs merge=lfs\n"
    )
    write(attempt.work, {".gitattributes": attributes, "n.id": "$Id: evil $", "n.x": "$Format:%H$"})
    (attempt.work / "n.crlf").write_bytes(b"a\r\n")
    got = attempt.harvest()
    assert got.problem == ""
    found = {name: scene.hub.read_file(got.head, name) for name in ("n.id", "n.crlf", "n.x")}
    assert found == {"n.id": b"$Id$", "n.crlf": b"a\n", "n.x": b"$Format:%H$"}


def _size(top: Path) -> int:
    return sum(path.stat().st_size for path in top.rglob("*") if path.is_file())
