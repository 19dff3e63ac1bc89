from __future__ import annotations

from pathlib import Path

import uvloop

from tests.chaos.budget_race import race


def test_no_budget_is_passed_by_256_clients_whose_proxy_is_killed(tmp_path: Path) -> None:
    found = uvloop.run(race(tmp_path, rounds=4, clients=256))
    assert not found.faults, found.table()
    assert found.kills == 2
