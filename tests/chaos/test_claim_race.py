from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def race(folder: Path, *arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.claim_race", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def clean(verdict: dict[str, float]) -> bool:
    return not any(verdict[name] for name in ("double", "overlap", "lost", "disorder"))


def test_fifty_claimers_killed_and_paused_share_a_thousand_tasks(tmp_path: Path) -> None:
    verdict = race(tmp_path, "--claimers", "50", "--tasks", "1000")
    assert clean(verdict), verdict
    assert verdict["kills"] > 50
    assert verdict["pauses"] > 20


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_hundred_claimers_share_five_thousand_tasks(tmp_path: Path, seed: int) -> None:
    verdict = race(tmp_path, "--claimers", "200", "--tasks", "5000", "--seed", str(seed))
    assert clean(verdict), verdict
