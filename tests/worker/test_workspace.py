"""Folders that another attempt goes on in, after an agent that has put links there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fleet.store.files import write_within
from fleet.worker.workspace import Rooms


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    made = Rooms(root=tmp_path / "t.1")
    for folder in (made.work / ".git", made.home, made.tmp):
        folder.mkdir(parents=True)
    return made


@pytest.mark.parametrize("name", ["work", "work/.git", "home", "tmp"])
def test_a_link_in_place_of_a_folder_is_the_end_of_them(
    rooms: Rooms, tmp_path: Path, name: str
) -> None:
    assert rooms.are_whole()
    (tmp_path / "elsewhere/.git").mkdir(parents=True)
    shutil.rmtree(rooms.root / name)
    (rooms.root / name).symlink_to(tmp_path / "elsewhere")
    assert not rooms.are_whole()


def test_what_we_write_in_its_home_stays_there(rooms: Rooms, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (rooms.home / ".codex").symlink_to(elsewhere)
    (rooms.home / "deep").mkdir()
    (rooms.home / "deep/er").symlink_to(elsewhere)
    for name in (".codex/config.toml", "deep/er/x", "plain"):
        write_within(rooms.home, name, b"ours")
        assert (rooms.home / name).read_bytes() == b"ours"
    assert list(elsewhere.iterdir()) == []
