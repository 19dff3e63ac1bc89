"""Results wait on fleet/landed while the checkout has changes: that ref may be lost, they not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import small_fleet
from tests.recovery.place import Place, a_place

REF = "refs/heads/fleet/landed"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = a_place(tmp_path)
    small_fleet.write_tasks(made, ["one", "two"])
    (made.top / "base.txt").write_text("mine\n")
    assert small_fleet.run(made) == ""
    return made


@pytest.mark.parametrize("damage", ["gone", "broken", "older"])
def test_fleet_landed_is_set_again(place: Place, damage: str) -> None:
    before, path = place.git("rev-parse", REF), place.layout.common_dir / REF
    if damage == "gone":
        place.git("update-ref", "-d", REF)
    else:
        path.write_text("nothing\n" if damage == "broken" else place.git("rev-parse", f"{REF}^1"))
    assert small_fleet.run(place) == ""
    assert place.git("rev-parse", REF) == before
    assert place.breaches() == []


def test_what_was_published_is_not_held_back_any_more(place: Place) -> None:
    place.git("checkout", "-q", "base.txt")
    assert small_fleet.run(place) == ""
    assert (place.top / "two.txt").exists()
    assert place.git("for-each-ref", REF) == ""
    place.git("reset", "-q", "--hard", "HEAD~1")  # a person may take back what has landed
    assert small_fleet.run(place) == ""
    assert place.git("for-each-ref", REF) == ""
