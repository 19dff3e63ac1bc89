"""The short form of `crash_points`: a few points. `scripts/crash-points` strikes all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.tracer import Strike, trace, unavailable

ROOT = Path(__file__).parents[2]
needs_a_tracer = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "can trace")


def two_files(folder: Path) -> int:
    (folder / "one").write_text("1")
    (folder / "two").write_text("2")
    return 0


@needs_a_tracer
def test_a_call_can_be_struck_before_it_has_done_anything(tmp_path: Path) -> None:
    def run(strike: Strike | None, at: int) -> tuple[int, list[str]]:
        seen = trace(
            lambda: two_files(tmp_path), beneath=str(tmp_path), strike=strike, at=at, timeout_s=30.0
        )
        there = sorted(path.name for path in tmp_path.iterdir())
        for path in tmp_path.iterdir():
            path.unlink()
        return seen.code, there

    assert run(None, 0) == (0, ["one", "two"])
    assert run(Strike.CALLER, 1) == (-9, [])
    assert run(Strike.CALLER, 3) == (-9, ["one"])
    assert run(Strike.EIO, 3)[1] == ["one"]


@needs_a_tracer
def test_a_flow_struck_at_some_of_its_calls_breaks_no_promise() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.chaos.crash_points", "--flows", "claim,record"),
            *("--strikes", "kill", "--jobs", "1", "--sample", "2", "--seed", "7"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
