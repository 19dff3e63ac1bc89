from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.errors import NoSpaceError, StorageError
from fleet.store.layout import Layout, reserve
from fleet.store.space import MB, RESERVE_BYTES, Space, free, refused, release_if_short


def a_space(folder: Path, floor: int = 0) -> Space:
    layout = Layout(common_dir=folder, top=folder, cache=folder / "cache")
    layout.prepare()
    return Space(layout=layout, floor=floor)


def test_there_is_room_until_less_is_free_than_must_be(tmp_path: Path) -> None:
    space = a_space(tmp_path)
    assert space.lacking() == ""
    short = replace(space, floor=free(tmp_path) + 1000 * MB)
    assert "MB are free for workspaces" in short.lacking()
    assert "[workspace] min_free_mb" in short.lacking()


def test_the_reserve_has_real_blocks_and_is_given_up_when_the_run_ends(tmp_path: Path) -> None:
    space = a_space(tmp_path)
    space.keep_reserve()
    space.keep_reserve()
    path = reserve(space.layout.state)
    assert path.stat().st_blocks * 512 >= RESERVE_BYTES
    release_if_short(space.layout.state)  # there is room: it stays
    assert path.exists()
    space.drop_reserve()
    assert not path.exists()


def test_no_reserve_is_made_of_room_that_must_stay_free(tmp_path: Path) -> None:
    space = a_space(tmp_path, floor=free(tmp_path) + 1000 * MB)
    space.keep_reserve()
    assert not reserve(space.layout.state).exists()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EIO, StorageError),
        (errno.EROFS, StorageError),
        (errno.EACCES, PermissionError),
    ],
)
def test_only_faults_of_the_disk_are_the_disks(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind), refused("here"):
        raise OSError(number, os.strerror(number), "there")
