"""Reports as text and bytes: for the cache of tree reports, and for people and attempts.

A damaged body is no report: the checks simply run again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fleet.core.report import CheckRun, Finding, GateReport, TestOutcome, TreeReport, Verdict

FORMAT = 1


def encode(report: TreeReport) -> bytes:
    text = json.dumps({"format": FORMAT, **asdict(report)}, separators=(",", ":"))
    return zlib.compress(text.encode("ascii"))


def decode(body: bytes) -> TreeReport | None:
    """The report, or None when the body is damaged or of another format."""
    try:
        data = json.loads(zlib.decompress(body))
        if data["format"] != FORMAT:
            return None
        return TreeReport(
            tree=data["tree"],
            gate_hash=data["gate_hash"],
            runs=tuple(_run(run) for run in data["runs"]),
        )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def report_as_json(report: GateReport) -> str:
    return json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n"


def report_of_json(text: str) -> GateReport:
    """The inverse of `report_as_json`; ValueError when the text is no such report."""
    try:
        data = json.loads(text)
        lists = {name: tuple(data[name]) for name in ("flaky", "touched", "restored")}
        return GateReport(
            **{
                **data,
                **lists,
                "verdict": Verdict(data["verdict"]),
                "findings": _findings(data["findings"]),
            }
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"this is no gate report: {error}") from error


def _run(data: Mapping[str, Any]) -> CheckRun:
    tests = {name: TestOutcome(outcome) for name, outcome in data["tests"].items()}
    return CheckRun(**{**data, "tests": tests, "findings": _findings(data["findings"])})


def _findings(data: list[Mapping[str, Any]]) -> tuple[Finding, ...]:
    return tuple(Finding(**finding) for finding in data)
