from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import StorageError
from fleet.process.transcript import Transcript, plain, read


def numbered(count: int, first: int = 0) -> bytes:
    """Bytes of which every stretch of eight is somewhere else than every other."""
    return b"".join(b"%07d " % number for number in range(first, first + count))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_fits_is_kept_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    with Transcript(path, head_bytes=100, tail_bytes=100) as log:
        log.write(b"one\n")
        log.write(b"\xff\x00two")
    assert path.read_bytes() == b"one\n\xff\x00two"
    assert log.total == 9


def test_head_and_tail_stay_and_the_gap_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    data = numbered(1000)
    with Transcript(path, head_bytes=80, tail_bytes=160) as log:
        log.write(data)
    assert path.read_bytes() == data[:80] + b"\n[... 7760 bytes left out ...]\n" + data[-160:]
    assert names(tmp_path) == ["t.log"]
    assert log.total == 8000


@pytest.mark.parametrize("total", [80, 88, 160, 240, 248, 320, 400, 408, 560])
@pytest.mark.parametrize("piece", [1, 7, 80, 1000])
def test_no_boundary_loses_or_repeats_a_byte(tmp_path: Path, total: int, piece: int) -> None:
    path = tmp_path / "t.log"
    data = numbered(total // 8)
    with Transcript(path, head_bytes=80, tail_bytes=160) as log:
        for start in range(0, total, piece):
            log.write(data[start : start + piece])
            now = read(path)
            assert now.startswith(data[: min(80, start)])
            assert now.endswith(data[max(0, start + piece - 160) : start + piece])
    left_out = max(0, total - 240)
    note = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
    assert path.read_bytes() == data[:80] + note + data[max(80, total - 160) :]


def test_the_disk_never_holds_more_than_head_and_two_tails(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    most = 0
    with Transcript(path, head_bytes=1000, tail_bytes=1000) as log:
        for _ in range(100):
            log.write(b"x" * 333)
            most = max(most, sum(piece.stat().st_size for piece in tmp_path.iterdir()))
    assert most < 3300
    assert path.stat().st_size < 2100


def test_what_a_killed_writer_left_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    data = numbered(100)
    log = Transcript(path, head_bytes=80, tail_bytes=160)
    log.write(data)  # and never closed
    found = read(path)
    assert found.startswith(data[:80] + b"\n[... ")
    assert found.endswith(data[-160:])
    assert names(tmp_path) == ["t.log", "t.log.tail.0", "t.log.tail.1"]
    log.close()


def test_a_crash_after_the_assembly_shows_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    log = Transcript(path, head_bytes=80, tail_bytes=160)
    log.write(numbered(100))
    segments = {piece: piece.read_bytes() for piece in tmp_path.iterdir() if piece != path}
    log.close()
    whole = path.read_bytes()
    for piece, content in segments.items():
        piece.write_bytes(content)
    assert read(path) == whole


def test_a_segment_overwritten_under_the_reader_is_not_joined(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    data = numbered(100)
    log = Transcript(path, head_bytes=80, tail_bytes=160)
    log.write(data)
    older = min(tmp_path.glob("*.tail.*"), key=lambda piece: piece.read_bytes()[:60])
    os.truncate(older, 100)
    found = read(path)
    log.close()
    assert b"bytes left out" in found
    head, _, tail = found.partition(b"\n[... ")
    assert head == data[:80]
    assert data.endswith(tail.split(b"]\n", 1)[1])


def test_an_earlier_transcript_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "t.log"
    crashed = Transcript(path, head_bytes=8, tail_bytes=8)
    crashed.write(b"x" * 100)
    with Transcript(path, head_bytes=8, tail_bytes=8) as log:
        log.write(b"new")
        assert read(path) == b"new"
    assert names(tmp_path) == ["t.log"]
    os.close(crashed._fd)


def test_it_is_private_and_follows_no_link(tmp_path: Path) -> None:
    path, aim = tmp_path / "t.log", tmp_path / "aim"
    aim.write_bytes(b"precious")
    path.symlink_to(aim)
    with pytest.raises(StorageError, match=r"t\.log"):
        Transcript(path)
    assert aim.read_bytes() == b"precious"
    assert read(path) == b""
    path.unlink()
    old = os.umask(0)
    try:
        with Transcript(path, head_bytes=4, tail_bytes=4) as log:
            log.write(b"x" * 100)
            modes = {stat.S_IMODE(piece.stat().st_mode) for piece in tmp_path.glob("t.log*")}
            assert modes == {0o600}
            assert not os.get_inheritable(log._fd)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_written_is_nothing_read(tmp_path: Path) -> None:
    assert read(tmp_path / "absent") == b""
    Transcript(tmp_path / "empty").close()
    assert read(tmp_path / "empty") == b""


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    log = Transcript(tmp_path / "t.log", head_bytes=4, tail_bytes=4)
    log.write(b"x" * 100)
    log.close()
    before = read(tmp_path / "t.log")
    log.close()
    assert read(tmp_path / "t.log") == before


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ends\nnext", "0;never ends\nnext"),
        ("\x1bP1$r\x1b\\\x1b(Bok\x1bc", "ok"),
        ("\x9b31mc1\x9b0m \x85\x80", "c1 "),
        ("a\tb\nc\r\nd\x00\x07\x08\x7f", "a\tb\nc\nd"),
        ("user\u202etxt.exe\u2066\u2069\u200f", "usertxt.exe"),
        ("lone \x1b", "lone "),
        ("naïve 日本 🎉", "naïve 日本 🎉"),
    ],
)
def test_shown_text_cannot_steer_a_terminal(raw: str, shown: str) -> None:
    assert plain(raw) == shown


@given(st.text(alphabet=st.sampled_from("\x1b\x9b\x9d[]();0mHP\\\x07\n\tab\u202e")))
def test_no_control_survives_whatever_was_said(text: str) -> None:
    assert not set(plain(text)) & set("\x1b\x9b\x9d\x07\u202e")
    assert plain(text).count("\n") == text.count("\n")
