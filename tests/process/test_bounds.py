"""Programs that take too much of the machine, with small bounds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.process.bounds import MB, Bounds
from fleet.process.supervise import End, Ended, supervise

Alive = Callable[[str], list[int]]

FORKS = """
import subprocess, sys, time
for _ in range(30):
    subprocess.Popen(["sleep", sys.argv[1]])
time.sleep(60)
"""
HOARDS = "import time; hoard = bytearray(b'x') * 150_000_000; time.sleep(60)"
SHARES = """
import os, time
hoard = bytearray(b'x') * 60_000_000
for _ in range(4):
    if not os.fork():
        time.sleep(1.5)
        os._exit(0)
time.sleep(1.5)
"""
FILLS = """
import os, pathlib, time
for number in range(40):
    folder = pathlib.Path(f"d{number}"); folder.mkdir()
    (folder / "f").write_bytes(os.urandom(1_000_000))
time.sleep(60)
"""


def hog(tmp_path: Path, script: str, *words: str, **limits: int) -> Ended:
    usual = {"processes": 1000, "memory_bytes": 1 << 40, "disk_bytes": 1 << 40, "free_bytes": 0}
    folder = tmp_path / "folder"
    folder.mkdir()
    return supervise(
        (sys.executable, "-c", script, *words),
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        mark=f"test-bounds/{os.getpid()}/{tmp_path.name}",
        transcript=tmp_path / "log",
        wall_s=60.0,
        stall_s=None,
        should_stop=lambda: None,
        bounds=Bounds(folders=(folder,), **{**usual, **limits}),
    )


def test_a_program_that_starts_too_many_is_ended_with_them(tmp_path: Path, alive: Alive) -> None:
    token = f"61.{os.getpid()}"
    ended = hog(tmp_path, FORKS, token, processes=10)
    assert (ended.end, ended.reason) == (End.OVERGROWN, "it was ended: more than 10 processes")
    assert alive(token) == []


@pytest.mark.parametrize(
    ("script", "limits", "words"),
    [
        (HOARDS, {"memory_bytes": 100 * MB}, "more than 100 MB of memory"),
        (FILLS, {"disk_bytes": 10 * MB}, "more than 10 MB written into its folders"),
        (HOARDS, {"free_bytes": 1 << 62}, "are free on the disk of"),
    ],
)
def test_a_program_that_takes_too_much_is_ended(
    tmp_path: Path, script: str, limits: dict[str, int], words: str
) -> None:
    ended = hog(tmp_path, script, **limits)
    assert ended.end is End.OVERGROWN
    assert words in ended.reason
    assert ended.seconds < 30


def test_memory_that_its_processes_share_counts_once(tmp_path: Path) -> None:
    assert hog(tmp_path, SHARES, memory_bytes=200 * MB).end is End.EXITED


def test_a_program_within_its_bounds_is_left_alone(tmp_path: Path) -> None:
    small = {"processes": 3, "memory_bytes": 100 * MB, "disk_bytes": 10 * MB}
    assert hog(tmp_path, "import time; time.sleep(0.6)", **small).end is End.EXITED
