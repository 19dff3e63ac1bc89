from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from tests.chaos.proxy_clients import Kind
from tests.chaos.proxy_soak import soak


def test_ten_seconds_of_faults_and_a_kill_leave_nothing_behind(tmp_path: Path) -> None:
    report = uvloop.run(soak(tmp_path, seconds=3.0, kills=1))
    assert not report.faults, report.table()
    assert report.kills == 1
    assert report.kinds[Kind.COMPLETE] > 100
    assert report.kinds[Kind.LEFT] > 0.2 * report.served[0]
    assert min(report.dedups[how] for how in ("leader", "joined", "replayed", "bypass")) > 5


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_minutes_of_faults_and_kills(tmp_path: Path, seed: int) -> None:
    report = uvloop.run(soak(tmp_path, seconds=120.0, clients=160, seed=seed, kills=3))
    assert not report.faults, report.table()
