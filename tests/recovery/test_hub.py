"""Refs of the hub that are lost or damaged are set again by what the ledger knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import NOW, a_task, an_owner
from tests.recovery.place import Place, a_place

REF = "refs/fleet/attempts/one/1"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """One task whose agent has handed in its work."""
    made = a_place(tmp_path)
    fleet = made.open()
    fleet.roster.sync([a_task("one")], now=NOW)
    found = fleet.ledger.claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    tip = fleet.take_tip()
    fleet.ledger.running(found[0], agent="echo", base=tip, now=NOW)
    made.attempt("one", 1, tip)
    fleet.ledger.harvested(found[0], head=tip, now=NOW)
    fleet.close()
    return made


def kept(place: Place) -> str:
    return place.git("rev-parse", REF, git_dir=place.layout.hub)


@pytest.mark.parametrize("content", [None, b"", b"\0" * 41, b"1234", b"ref: refs/nowhere\n"])
def test_a_ref_is_set_again(place: Place, content: bytes | None) -> None:
    before, path = kept(place), place.layout.hub / REF
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    place.open(thorough=True).close()
    assert kept(place) == before
    assert place.breaches() == []


@pytest.mark.parametrize("tail", [b"garb\0age\n", b"1234567", b"\n"])
def test_one_bad_line_does_not_hide_all_other_refs(place: Place, tail: bytes) -> None:
    before = kept(place)
    place.git("pack-refs", "--all", git_dir=place.layout.hub)
    packed = place.layout.hub / "packed-refs"
    packed.write_bytes(packed.read_bytes() + tail)
    place.open(thorough=True).close()
    assert kept(place) == before
    assert place.breaches() == []


@pytest.mark.parametrize("name", ["HEAD", "config"])
@pytest.mark.parametrize("content", [None, b"\0" * 60, b"[core"])
def test_a_hub_that_git_knows_no_more_is_known_again(
    place: Place, name: str, content: bytes | None
) -> None:
    before, path = kept(place), place.layout.hub / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    place.open(thorough=True).close()
    assert kept(place) == before
    assert place.breaches() == []
