from __future__ import annotations

import pytest

from fleet.gate.suppressions import added, find


@pytest.mark.parametrize(
    ("comment", "kind"),
    [
        ("# noqa", "noqa"),
        ("#NOQA:F401", "noqa"),
        ("# ruff: noqa", "ruff:noqa"),
        ("# type: ignore[attr]", "type:ignore"),
        ("# type:ignore  # noqa: E1", "type:ignore"),
        ("# mypy: ignore-errors", "mypy:"),
        ("# pyright: basic", "pyright:"),
        ("# pragma: no cover", "pragma:nocover"),
        ("# pylint: disable=all", "pylint:disable"),
        ("# nosec B101", "nosec"),
        ("# fmt: off", "fmt:off"),
    ],
)
def test_comments_that_silence_checks_are_known(comment: str, kind: str) -> None:
    assert find(f"x = 1  {comment}\n")[0].kind == kind


@pytest.mark.parametrize("text", ["x = '# noqa'\n", '"""\n# type: ignore\n"""\n', "# no quarter\n"])
def test_words_about_them_are_none(text: str) -> None:
    assert find(text) == ()


def test_in_what_cannot_be_read_everything_that_looks_like_a_comment_is_one() -> None:
    assert [found.line for found in find("def (:\n  x  # noqa\n")] == [2]


def test_more_than_before_is_named_with_its_place() -> None:
    said = added({"a.py": "x  # noqa\n"}, {"a.py": "x  # noqa\ny  # noqa\n", "b.py": "z\n"})
    assert said == "it silences checks: a.py:1 (# noqa), a.py:2 (# noqa)"


def test_moving_them_is_no_addition_and_taking_one_away_pays_for_another_of_its_kind_only() -> None:
    assert added({"a.py": "x  # noqa\n", "b.py": ""}, {"b.py": "x  # noqa\n"}) == ""
    assert added({"a.py": "x  # noqa\n"}, {"a.py": "x  # nosec\n"}) != ""
