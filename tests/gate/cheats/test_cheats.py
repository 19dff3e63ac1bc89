"""No cheat lands, and nothing honest is turned away: the short form. All: `scripts/gate-cheats`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.builders import a_task
from tests.gate.cheats.catalogue import CHEATS, Cheat
from tests.gate.cheats.honest import HONEST, Honest
from tests.gate.cheats.stage import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("cheats"))
    yield made
    made.db.close()


@pytest.mark.parametrize(
    "cheat", [cheat for cheat in CHEATS if cheat.short], ids=lambda cheat: cheat.name
)
def test_a_cheat_does_not_land(stage: Stage, cheat: Cheat) -> None:
    judged = stage.judge(cheat.change, commands=cheat.commands)
    assert not judged.lands
    assert cheat.says in judged.words


@pytest.mark.parametrize(
    "honest", [honest for honest in HONEST if honest.short], ids=lambda honest: honest.name
)
def test_an_honest_change_lands_and_the_report_says_what_it_touched(
    stage: Stage, honest: Honest
) -> None:
    judged = stage.judge(honest.files, a_task("one", **honest.task), commands=honest.commands)
    assert judged.lands, judged.words
    assert judged.report is not None
    assert set(honest.touched) <= set(judged.report.touched)
