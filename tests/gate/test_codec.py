from __future__ import annotations

import json
import zlib

import pytest

from fleet.core.report import CheckRun, Finding, GateReport, TestOutcome, TreeReport, Verdict
from fleet.gate.codec import decode, encode, report_as_json, report_of_json

FOUND = Finding(check="pytest", message="naïve ≠ 1", path="tests/test_a.py", line=3, id="a::b")
TREE = TreeReport(
    tree="abc",
    gate_hash="def",
    runs=(
        CheckRun(
            check="pytest",
            complete=True,
            passed=False,
            tests={f"tests/test_a.py::test[{outcome}]": outcome for outcome in TestOutcome},
            findings=(FOUND,),
            seconds=1.5,
        ),
        CheckRun(check="ruff check", complete=False, passed=False, note="not there"),
    ),
)


def test_a_tree_report_comes_back_as_it_was() -> None:
    again = decode(encode(TREE))
    assert again == TREE
    assert again is not None
    assert all(isinstance(outcome, TestOutcome) for outcome in again.runs[0].tests.values())


def test_ten_thousand_tests_take_little_room() -> None:
    tests = {f"tests/test_module.py::test_{n}": TestOutcome.PASSED for n in range(10_000)}
    run = CheckRun(check="pytest", complete=True, passed=True, tests=tests)
    assert len(encode(TreeReport(tree="t", gate_hash="g", runs=(run,)))) < 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        zlib.compress(b"[1, 2]"),
        zlib.compress(b"{}"),
        encode(TREE)[:-9],
        zlib.compress(json.dumps({"format": 0, "tree": "", "gate_hash": "", "runs": []}).encode()),
        zlib.compress(b'{"format":1,"tree":"","gate_hash":"","runs":[{"check":"x"}]}'),
    ],
)
def test_a_damaged_body_is_no_report(body: bytes) -> None:
    assert decode(body) is None


def test_a_verdict_comes_back_as_it_was() -> None:
    report = GateReport(
        verdict=Verdict.COULD_NOT_RUN,
        findings=(FOUND,),
        known=2,
        flaky=("a::c",),
        touched=("tests/test_a.py",),
        restored=("pyproject.toml",),
        note="why",
        cached=True,
        seconds=0.25,
    )
    text = report_as_json(report)
    assert "naïve ≠ 1" in text
    assert report_of_json(text) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdict": "pass"}'])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        report_of_json(text)
