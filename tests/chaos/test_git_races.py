from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def races(folder: Path, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.git_races", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=1300,
        check=False,
    )
    assert done.stdout, done.stderr
    verdict = dict(json.loads(done.stdout))
    assert done.returncode == 0, verdict
    return verdict


def test_git_operations_that_are_killed_lose_nothing_and_block_nobody(tmp_path: Path) -> None:
    assert races(tmp_path, "--operations", "40", "--kills", "10", "--workers", "4")["landed"]


@pytest.mark.long
@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_thousand_of_them_with_two_hundred_kills(tmp_path: Path, seed: str) -> None:
    assert races(tmp_path, "--seed", seed)["landed"]
    assert races(tmp_path, "--seed", seed, "--gc")["collected"]
