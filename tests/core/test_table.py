from __future__ import annotations

from enum import StrEnum

import pytest

from fleet.core.errors import Problem
from fleet.core.table import Loose, Table, did_you_mean, in_order, shown
from fleet.core.toml import Document, parse


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def a_table(text: str, **overrides: str) -> Table:
    document = parse(text.encode(), "x.toml")
    assert isinstance(document, Document)
    given = {key: (f"FLEET_{key.upper()}", Loose(value)) for key, value in overrides.items()}
    return Table(document.data, document, [], (), given)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ('"90s"', 90),
        ('"30m"', 1800),
        ('"1h30m"', 5400),
        ('"0.2s"', 0.2),
        ('"1d"', 86_400),
        ('"7d"', 604_800),
    ],
)
def test_a_length_of_time_is_a_number_or_a_text(written: str, seconds: float) -> None:
    table = a_table(f"t = {written}")
    assert table.seconds("t", 1.0) == seconds
    assert table.problems == []


@pytest.mark.parametrize(
    "written",
    [
        "0",
        "-1",
        "nan",
        "inf",
        "1e999",
        "true",
        '""',
        '"30"',
        '"m"',
        '"30m1h"',
        '"0s"',
        '"8d"',
        "[1]",
        '"-5s"',
        '"5 m"',
        "0x" + "f" * 10_000,
        '"999999999d"',
    ],
)
def test_what_is_no_length_of_time_is_refused(written: str) -> None:
    table = a_table(f"\nt = {written}")
    assert table.seconds("t", 7.0) == 7.0
    assert [problem.where for problem in table.problems] == ["x.toml:2"]
    assert table.problems[0].what.startswith("t ")
    assert table.problems[0].fix


@pytest.mark.parametrize(
    "written", ["true", "1.0", '"1"', "-1", "11", "[]", "{}", "0x" + "f" * 10_000, "1979-05-27"]
)
def test_what_is_no_whole_number_in_range_is_refused(written: str) -> None:
    table = a_table(f"n = {written}")
    assert table.integer("n", 3, low=0, high=10) == 3
    assert len(table.problems) == 1
    assert len(str(table.problems[0])) < 200


@pytest.mark.parametrize("written", ["0", "-0.5", "nan", "-nan", "inf", "1e999", "true", '"1"'])
def test_what_is_no_finite_number_above_zero_is_refused(written: str) -> None:
    table = a_table(f"n = {written}")
    assert table.number("n", None) is None
    assert len(table.problems) == 1


def test_texts_are_bounded_and_without_nul() -> None:
    table = a_table('a = "x\\u0000"\nb = "äää"\nc = 1\nd = " "')
    assert table.text("a") == ""
    assert table.text("b", "short", limit=5) == "short"
    assert table.text("c") == ""
    assert table.text("d", required=True) == ""
    assert table.text("e", required=True) == ""
    assert table.text("f", "default") == "default"
    assert [p.what.split(" ")[0] for p in table.problems] == ["a", "b", "c", "d", "e"]
    assert "6 bytes" in table.problems[1].what


def test_lists_name_the_item_that_is_wrong() -> None:
    table = a_table('a = ["x", "", 3, "y\\u0000"]\nb = "x"\nc = ["one two", "a \'b"]\nd = [1, 999]')
    assert table.texts("a") == ("x",)
    assert table.texts("b", ("kept",)) == ("kept",)
    assert table.commands("c") == ("one two",)
    assert table.integers("d", low=0, high=255) == (1,)
    assert table.integers("e", low=0, high=255) is None
    where = [problem.where for problem in table.problems]
    assert where == ["x.toml:1"] * 3 + ["x.toml:2", "x.toml:3", "x.toml:4"]
    assert "item 2" in table.problems[0].what


def test_a_choice_is_one_of_its_enum() -> None:
    table = a_table('a = "blue"\nb = "bleu"\nc = 1')
    assert table.choice("a", Colour.RED) is Colour.BLUE
    assert table.choice("b", Colour.RED) is Colour.RED
    assert table.choice("c", Colour.RED) is Colour.RED
    assert table.choice("d", Colour.RED) is Colour.RED
    assert [problem.fix for problem in table.problems] == ["did you mean 'blue'?", 'write c = "…"']


def test_a_key_nobody_asked_for_is_named_with_its_neighbour() -> None:
    table = a_table('[fleet]\nagents = 1\n\nagnets = 2\n"x\\u001b" = 3').table("fleet")
    table.integer("agents", 1)
    table.finish()
    assert table.problems[0] == Problem(
        where="x.toml:4", what="unknown key 'agnets'", fix="did you mean 'agents'?"
    )
    assert "\x1b" not in str(table.problems[1])


def test_tables_of_another_shape_are_refused() -> None:
    table = a_table("a = 1\nb = 2\nc = [{}, 3]")
    table.table("a")
    table.tables("b")
    assert len(table.tables("c")) == 1
    table.tables("d")
    assert [p.where for p in table.problems] == ["x.toml:1", "x.toml:2", "x.toml:3", "x.toml:1"]
    assert table.problems[-1].fix == "write d = [] if there are none yet"


def test_a_mapping_has_names_and_texts() -> None:
    table = a_table('[env]\nA = "1"\n"B C" = "2"\nD = 3\n')
    found = table.mapping("env", wrong=lambda name: "has a space" if " " in name else "")
    assert found["A"] == "1"
    assert [p.where for p in table.problems] == ["x.toml:3", "x.toml:4"]


def test_the_environment_overrides_with_types() -> None:
    table = a_table(
        "a = 1\nb = 2",
        a="7", t="30m", s="90", f="1.5", yes="true", one="pytest -x", many='["a", "b"]',
        name="1.0", none="[]",
    )  # fmt: skip
    assert table.integer("a", 0) == 7
    assert table.integer("b", 0) == 2
    assert table.seconds("t", 0.0) == 1800
    assert table.seconds("s", 0.0) == 90
    assert table.number("f", None) == 1.5
    assert table.boolean("yes", default=False) is True
    assert table.texts("one") == ("pytest -x",)
    assert table.texts("many") == ("a", "b")
    assert table.texts("none", ("x",)) == ()
    assert table.text("name") == "1.0"
    table.finish()
    assert table.problems == []


def test_a_wrong_override_names_its_variable() -> None:
    table = a_table("a = 1", a="many", typo="1")
    assert table.integer("a", 4) == 4
    table.finish()
    assert [problem.where for problem in table.problems] == ["FLEET_A", "FLEET_TYPO"]


def test_values_are_shown_short_and_safe() -> None:
    assert shown("x" * 500) == "'" + "x" * 75 + "…'"
    assert "\x1b" not in shown("\x1b[31m")
    assert shown(16**10_000) == "a huge number"
    assert shown(True) == "true"
    assert shown([1]) == "a list"


def test_problems_are_ordered_by_file_and_line() -> None:
    places = ["b.toml:2", "a.toml:10", "FLEET_X", "a.toml:9", "a.toml:9"]
    found = in_order(Problem(where=where, what="w") for where in places)
    assert [problem.where for problem in found] == ["FLEET_X", "a.toml:9", "a.toml:10", "b.toml:2"]


def test_without_a_near_word_the_known_ones_are_listed() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zzz", []) == ""
