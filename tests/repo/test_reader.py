from __future__ import annotations

from pathlib import Path

import pytest

from fleet.repo.reader import Reader
from tests.repo.scene import Scene, commit, git


def test_the_line_of_first_parents_is_read_to_the_root(scene: Scene) -> None:
    first = git(scene.top, "rev-parse", "HEAD")
    git(scene.top, "checkout", "--quiet", "-b", "side")
    commit(scene.top, {"side": "s"}, "side")
    git(scene.top, "checkout", "--quiet", "main")
    git(scene.top, "merge", "--quiet", "--no-ff", "-m", "Übernahme\n\nbody", "side")
    tip = git(scene.top, "rev-parse", "HEAD")
    with Reader(scene.top / ".git") as reader:
        found = list(reader.first_parents(tip))
    assert [c.sha for c in found] == [tip, first]
    assert found[0].message == "Übernahme\n\nbody\n"
    assert found[0].tree == git(scene.top, "rev-parse", "HEAD^{tree}")


def test_it_ends_its_processes_when_it_is_closed(scene: Scene) -> None:
    before = _children()
    with Reader(scene.top / ".git") as reader:
        list(reader.first_parents("main"))
    assert _children() == before


def test_an_inherited_git_directory_does_not_lead_elsewhere(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "other.git")
    tip = git(scene.top, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other.git"))
    with Reader(scene.top / ".git") as reader:
        assert [c.sha for c in reader.first_parents(tip)] == [tip]


def _children() -> set[str]:
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for file in lists for pid in file.read_text().split()}
