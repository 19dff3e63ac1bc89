from __future__ import annotations

import random

import pytest

from tests.chaos.hostile_trees import RUNGS, lacking, table, try_rung


@pytest.mark.parametrize(
    "rung",
    [
        pytest.param(rung, marks=pytest.mark.skipif(bool(lacking(rung)), reason=lacking(rung)))
        for rung in RUNGS
    ],
)
def test_no_process_outlives_a_tree_nor_a_supervisor_that_is_killed(rung: str) -> None:
    found = try_rung(rung, 2, random.Random(1))
    assert found.survivors.total() == 0, table({rung: found})
