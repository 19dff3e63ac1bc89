"""The rules of the house, as tests: what CI holds is what a laptop sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LONGEST = 400


def run(*words: str) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_everything_is_formatted() -> None:
    run(str(BIN / "ruff"), "format", "--check", "--no-cache", ".")


def test_ruff_finds_nothing() -> None:
    run(str(BIN / "ruff"), "check", "--no-cache", ".")


def test_types_hold() -> None:
    run(str(BIN / "mypy"), "--no-incremental")


def test_imports_point_down() -> None:
    run(str(BIN / "lint-imports"), "--no-cache")


def test_no_room_is_too_large() -> None:
    for path in (*ROOT.glob("fleet/**/*.py"), *ROOT.glob("agents/*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LONGEST, f"{path.relative_to(ROOT)} has {lines} lines"


@pytest.mark.parametrize("word", ["TYPE_CHECKING", "NotImplementedError", "unittest.mock"])
def test_banned_words_are_nowhere(word: str) -> None:
    for path in ROOT.glob("fleet/**/*.py"):
        assert word not in path.read_text(encoding="utf-8"), path
