"""One run of any other command over one checkout. All it tells us is its exit code."""

from __future__ import annotations

import shutil
from pathlib import Path

from fleet.core.report import CheckRun, Finding
from fleet.gate.bench import Bench
from fleet.gate.checks import Check, Tools
from fleet.process.supervise import End, Ended

_CANNOT_RUN = {126: "it cannot be executed", 127: "it, or something it calls, is not there"}


def run_command(check: Check, tools: Tools, bench: Bench) -> CheckRun:
    program = _program(check.argv[0], tools, bench.checkout)
    if program is None:
        note = f"there is no program {check.argv[0]!r} on PATH"
        return CheckRun(check=check.name, complete=False, passed=False, note=note)
    ended = bench.run((program, *check.argv[1:]))
    note = _shortfall(ended)
    passed = not note and ended.code == 0
    findings: tuple[Finding, ...] = ()
    if not note and not passed:
        message = f"exit code {ended.code}\n{bench.last_said()}".rstrip()
        findings = (Finding(check=check.name, message=message),)
    return CheckRun(
        check=check.name,
        complete=not note,
        passed=passed,
        note=note,
        findings=findings,
        seconds=ended.seconds,
    )


def _program(word: str, tools: Tools, checkout: Path) -> str | None:
    """Where the program is. The tree under test provides it only when it is named by a path."""
    if "/" in word:
        return str(checkout / word)
    if word == "ruff" and tools.ruff is not None:
        return str(tools.ruff)
    return shutil.which(word, path=tools.path)


def _shortfall(ended: Ended) -> str:
    said = f": {ended.last_line}" if ended.last_line else ""
    if ended.end is not End.EXITED:
        return f"{ended.reason}{said}"
    if ended.code in _CANNOT_RUN:
        return f"exit code {ended.code}: {_CANNOT_RUN[ended.code]}{said}"
    return ""
