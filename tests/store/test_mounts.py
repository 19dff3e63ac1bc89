from __future__ import annotations

from pathlib import Path

import pytest

from fleet.store.mounts import mount_of

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:30 / {at}/home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
24 23 0:31 / {at}/home/me/local rw - tmpfs tmpfs rw
25 22 0:32 / {at}/a\\040folder rw master:1 propagate_from:2 - fuse.sshfs me@there: rw
26 22 0:33 / {at}/disk rw - fuseblk /dev/sdb1 rw
27 22 0:34 / {at}/home/me rw - ext4 /dev/sdc1 rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind", "shared"),
    [
        ("", "ext4", False),
        ("home", "nfs4", True),
        ("home/you/x", "nfs4", True),
        ("home/me/x", "ext4", False),
        ("home/me/local/x", "tmpfs", False),
        ("a folder/x", "fuse.sshfs", True),
        ("disk", "fuseblk", False),
        ("homework", "ext4", False),
    ],
)
def test_the_innermost_mount_decides(
    tmp_path: Path, folder: str, kind: str, *, shared: bool
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE.format(at=tmp_path))
    found = mount_of(tmp_path / folder, table)
    assert found is not None
    assert (found.kind, found.is_shared) == (kind, shared)


def test_a_system_without_the_table_says_nothing(tmp_path: Path) -> None:
    assert mount_of(tmp_path, tmp_path / "none") is None


def test_of_two_mounts_at_one_place_the_later_counts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        f"1 0 8:1 / {tmp_path} rw - ext4 /dev/a rw\n2 1 0:9 / {tmp_path} rw - cifs //s/x rw\n"
    )
    found = mount_of(tmp_path, table)
    assert found is not None and found.is_shared


def test_this_machine_has_one_for_every_folder(tmp_path: Path) -> None:
    found = mount_of(tmp_path)
    assert found is None or tmp_path.is_relative_to(found.at)
