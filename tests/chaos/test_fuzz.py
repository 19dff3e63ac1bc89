from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.fuzz import fuzz, targets
from tests.chaos.mutations import BOMBS


def test_no_damage_to_a_file_ends_in_anything_but_an_error_of_ours(tmp_path: Path) -> None:
    found = fuzz(tmp_path, inputs=1_500, seed=7, thorough=False)
    assert not [broken for broken in found.broken if " ms" not in broken]
    assert len(found.broken) < 5, found.broken  # a busy machine, not a slow reader
    assert found.inputs == 1_500


def test_good_files_are_good(tmp_path: Path) -> None:
    for target in targets().values():
        for seed in target.seeds:
            target.read(tmp_path, seed)
    assert len(BOMBS) > 40


@pytest.mark.parametrize("raw", ["[" * 4000, '{"port":1e999,"metrics_port":1,"pid":1,"started":1}'])
def test_what_once_came_through(tmp_path: Path, raw: str) -> None:
    for name in ("proxy.json", "story.json", "report.jsonl", "gate.json", "recording"):
        targets()[name].read(tmp_path, raw.encode())
