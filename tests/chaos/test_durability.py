"""Short forms of what `scripts/corruption` does at length."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.full_disk import namespace

ROOT = Path(__file__).parents[2]


def chaos(module: str, *arguments: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.chaos.{module}", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[0]))


@pytest.mark.long
def test_no_damage_loses_a_landed_task_or_invents_one() -> None:
    found = chaos("corruption", "--cases", "4", "--seed", "7", "--tasks", "2")
    assert found.get("wrong", 0) == 0
    assert found["rebuilt"] > 0, found


@pytest.mark.long
@pytest.mark.skipif(not namespace(), reason="this system lets nobody mount in a namespace")
def test_a_disk_that_fills_up_delays_a_fleet_and_loses_nothing() -> None:
    assert chaos("full_disk", "--cases", "1", "--seed", "3", "--tasks", "2")["wrong"] == 0


@pytest.mark.long
def test_a_thousand_times_damaged() -> None:
    assert chaos("corruption", "--cases", "1000").get("wrong", 0) == 0
