"""Reading what `pytest_main` wrote, as far as it came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.core.report import TestOutcome
from fleet.process.transcript import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is to be said of one test that did not simply pass."""

    id: str
    message: str
    path: str
    line: int


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of each test. Filled line by line; only its last line makes it a whole one."""

    tests: dict[str, TestOutcome] = field(default_factory=dict)
    said: dict[str, Told] = field(default_factory=dict)
    unimportable: set[str] = field(default_factory=set)  # test files that failed as such
    started: set[str] = field(default_factory=set)
    noticed: dict[str, str] = field(default_factory=dict)  # by id: what was done to the judges
    never: int = 0  # selected, without an outcome
    first_never: str = ""
    deselected: int = 0
    interrupted: str = ""
    damaged: bool = False
    status: int | None = None  # None: there is no end
    session_finished: bool = False

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(sorted(self.started.difference(self.tests)))

    @property
    def told(self) -> tuple[Told, ...]:
        return tuple(self.said.values())


def read_report(text: bytes, nonce: str) -> Report:
    report = Report()
    for line in text.splitlines():
        try:
            _take(report, json.loads(line), nonce)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            report.damaged = True
    return report


def _take(report: Report, line: Mapping[str, Any], nonce: str) -> None:
    kind = line["is"]
    if kind == "running":
        report.started.add(_text(line["id"]))
    elif kind == "test":
        _outcome(report, line)
    elif kind == "collection":
        _outcome(report, line)
        if line["outcome"] == TestOutcome.FAILED:
            report.unimportable.add(_text(line["id"]))
    elif kind == "selected":
        report.never = int(line["never"])
        report.first_never = _text("".join(line["first"]))
        report.deselected = int(line["deselected"])
    elif kind == "notice":
        report.noticed[_text(line["id"])] = _text(line["message"])
    elif kind == "interrupted":
        report.interrupted = _text(line["why"])
    elif kind == "end" and line["nonce"] == nonce:
        report.status = int(line["status"])
        report.session_finished = bool(line["finished"])
    else:
        report.damaged = True


def _outcome(report: Report, line: Mapping[str, Any]) -> None:
    name = _text(line["id"])
    outcome = TestOutcome(line["outcome"])
    if report.tests.get(name) is TestOutcome.FAILED:
        return  # what was said once cannot be taken back
    report.tests[name] = outcome
    report.said.pop(name, None)
    if outcome not in (TestOutcome.PASSED, TestOutcome.XPASSED):
        report.said[name] = Told(
            id=name,
            message=_text(line["message"]),
            path=_text(line["path"]),
            line=int(line["line"]),
        )


def _text(value: object) -> str:
    return plain(str(value))
