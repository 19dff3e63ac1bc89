from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleet.gate.sources import edited, look


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    for name in ("calc.py", "setup.cfg", "tests/test_a.py", "tests/data.txt", "notes.txt"):
        (tmp_path / name).write_text("as it was")
    return tmp_path


def put_back(path: Path) -> None:
    times = path.stat()
    old = path.read_bytes()
    path.write_bytes(b"other")
    path.write_bytes(old)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_other_content_is_found_and_so_is_what_is_gone(checkout: Path) -> None:
    before = look(checkout)
    (checkout / "calc.py").write_text("other")
    (checkout / "tests/data.txt").write_text("other")
    (checkout / "notes.txt").write_text("nobody minds")
    (checkout / "setup.cfg").unlink()
    assert edited(before, look(checkout)) == ("calc.py", "setup.cfg", "tests/data.txt")


def test_a_test_that_was_put_back_is_found_whatever_its_times_say(checkout: Path) -> None:
    before = look(checkout)
    put_back(checkout / "tests/test_a.py")
    put_back(checkout / "calc.py")
    assert edited(before, look(checkout)) == ("tests/test_a.py",)


def test_new_files_count_only_where_they_decide(checkout: Path) -> None:
    before = look(checkout)
    for name in ("made.py", "tests/made.json", "tests/conftest.py", "pytest.ini", "tests/x.ini"):
        (checkout / name).write_text("new")
    assert edited(before, look(checkout)) == ("pytest.ini", "tests/conftest.py")


def test_links_are_not_followed(checkout: Path) -> None:
    (checkout / "gone.py").symlink_to("/nowhere")
    (checkout / "loop.py").symlink_to("loop.py")
    assert edited(look(checkout), look(checkout)) == ()
