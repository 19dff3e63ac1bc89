from __future__ import annotations

from pathlib import Path

from fleet.process.sandbox.system import installations


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_an_installation_on_path_is_shown_whole_and_the_home_around_it_is_not(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    node = program(home / ".nvm" / "versions" / "node" / "v20" / "bin" / "node")
    found = installations(str(node.parent), (), private=(home,))
    assert found == (node.parent.parent,)


def test_programs_straight_in_a_home_are_shown_without_what_lies_beside_them(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    mine = program(home / "bin" / "mine")
    assert installations(str(mine.parent), (), private=(home,)) == (mine.parent,)


def test_of_folders_that_hold_logins_only_the_programs_are_shown(tmp_path: Path) -> None:
    home = tmp_path / "home"
    version = program(home / ".local" / "share" / "tool" / "versions" / "2.1" / "tool")
    bin_ = home / ".local" / "bin"
    bin_.mkdir()
    (bin_ / "tool").symlink_to(version)
    (home / ".local" / "share" / "keyrings").mkdir()
    found = installations(str(bin_), (), private=(home,))
    assert bin_ in found
    assert any(place in version.parents for place in found)
    assert not any(place in (home / ".local" / "share" / "keyrings").parents for place in found)


def test_a_home_on_path_shows_nothing(tmp_path: Path) -> None:
    assert installations(str(tmp_path), (), private=(tmp_path,)) == ()


def test_a_link_brings_the_installation_it_leads_to(tmp_path: Path) -> None:
    real = program(tmp_path / "python" / "bin" / "python3")
    link = tmp_path / "venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    found = installations("", (link,), private=())
    assert set(found) == {tmp_path / "venv", tmp_path / "python"}


def test_the_systems_own_folders_are_not_named_again() -> None:
    assert installations("/usr/bin:/bin:/usr/local/bin", (), private=()) == ()


def test_relative_and_missing_entries_of_path_count_for_nothing(tmp_path: Path) -> None:
    assert installations(f".:bin:{tmp_path / 'none' / 'bin'}:", (), private=()) == ()
