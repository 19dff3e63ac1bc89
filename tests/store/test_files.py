from __future__ import annotations

import stat
from pathlib import Path

from fleet.store.files import write_private, write_within


def test_a_file_is_ours_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "file").symlink_to(victim)
    write_private(tmp_path / "file", b"ours")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()


def test_what_an_agent_has_put_in_the_way_leads_nowhere_else(tmp_path: Path) -> None:
    """As in the HOME that a second attempt goes on in."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "config.toml").write_text("precious")
    home.mkdir()
    (home / ".codex").symlink_to(outside)
    (home / ".gemini").write_text("a file where a folder goes")
    (home / ".qwen" / "settings.json" / "x").mkdir(parents=True)
    for name in (".codex/config.toml", ".codex/deep/x", ".gemini/s.json", ".qwen/settings.json"):
        write_within(home, name, b"ours")
        assert (home / name).read_bytes() == b"ours"
    assert (outside / "config.toml").read_text() == "precious"
    assert list((outside / "deep").iterdir()) == []
    assert (home / ".codex").is_dir()
    assert not (home / ".codex").is_symlink()
