from __future__ import annotations

import os
from pathlib import Path

from fleet.gate.tape import Tape


def test_what_was_written_is_read_though_its_writer_and_its_name_are_gone(tmp_path: Path) -> None:
    with Tape(tmp_path / "tape") as tape:
        fd = os.open(tape.path, os.O_WRONLY)
        tape.path.unlink()
        os.write(fd, b"one\n")
        tape.pull()
        os.write(fd, b"two\n")
        os.close(fd)
        assert tape.text() == b"one\ntwo\n"


def test_without_a_writer_there_is_nothing_and_nobody_waits(tmp_path: Path) -> None:
    with Tape(tmp_path / "tape") as tape:
        assert tape.text() == b""
