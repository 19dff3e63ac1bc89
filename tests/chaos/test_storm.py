from __future__ import annotations

from pathlib import Path

import uvloop

from tests.chaos.storm import storm


def test_24_agents_of_every_kind_finish_and_hear_of_no_limit(tmp_path: Path) -> None:
    found = uvloop.run(storm(tmp_path, agents=24, turns=2))
    assert not found.faults, found.table()
    assert sum(gate.refused for gate in found.gates.values()) > 0
