from __future__ import annotations

from pathlib import Path

import pytest

from fleet.core.attempt import Claim
from fleet.core.story import Story
from fleet.core.usage import Usage
from fleet.store import stories
from fleet.store.layout import Layout
from tests.builders import a_task, an_owner

TOLD = Story(session="s-1", turns=3, tool_calls=2, usage=Usage(input=10, output=5), said="é done")


def a_layout(folder: Path) -> Layout:
    return Layout(common_dir=folder / "git", top=folder, cache=folder / "cache")


def a_claim() -> Claim:
    return Claim(task=a_task("a"), epoch=2, attempt=1, owner=an_owner())


def test_a_story_is_found_as_it_was_told(tmp_path: Path) -> None:
    layout, claim = a_layout(tmp_path), a_claim()
    stories.keep(layout, claim, TOLD)
    assert stories.find(layout, "a", 2) == TOLD
    assert stories.find(layout, "a", 1) is None


def test_an_agent_that_tells_nothing_leaves_no_file(tmp_path: Path) -> None:
    layout, claim = a_layout(tmp_path), a_claim()
    stories.keep(layout, claim, Story())
    assert stories.find(layout, "a", 2) is None
    assert not layout.story("a", 2).exists()


@pytest.mark.parametrize(
    "kept", [b"", b"[]", b"{", b'{"usage": 3}', b'{"usage": {"more": 1}}', b"\xff"]
)
def test_a_story_that_cannot_be_read_is_none(tmp_path: Path, kept: bytes) -> None:
    layout, claim = a_layout(tmp_path), a_claim()
    stories.keep(layout, claim, TOLD)
    layout.story("a", 2).write_bytes(kept)
    assert stories.find(layout, "a", 2) is None
