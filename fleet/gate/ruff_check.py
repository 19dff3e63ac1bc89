"""One run of `ruff check` over one checkout, with the configuration found there.

Its findings are read from a report of their own, not from its output. No finding counts only
when ruff has looked at Python files at all: `exclude = ["*"]` is not a clean bill.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from fleet.core.report import CheckRun, Finding
from fleet.gate.bench import Bench
from fleet.gate.checks import Check, Tools
from fleet.process.supervise import End
from fleet.process.transcript import plain

_FOUND = (0, 1)  # exit codes of a run that went to its end


def run_ruff(check: Check, tools: Tools, bench: Bench) -> CheckRun:
    if tools.ruff is None:
        return _incomplete(check, "ruff is not installed: not beside Python, and not on PATH")
    report = bench.scratch / "ruff.json"
    ruff = (str(tools.ruff), "check", *_arguments(check.argv))
    env = {"RUFF_NO_CACHE": "true", "RUFF_OUTPUT_FILE": str(report)}
    ended = bench.run((*ruff, "--output-format=json"), env=env)
    if ended.end is not End.EXITED or ended.code not in _FOUND:
        return _incomplete(check, f"{ended.reason}: {ended.last_line}", ended.seconds)
    try:
        findings = _findings(check, bench.checkout, report.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return _incomplete(check, f"its report cannot be read: {error}", ended.seconds)
    if not findings and _has_python(bench.checkout):
        bench.run((*ruff, "--show-files"), output="files.log")
        if not any(_is_python(line) for line in bench.said("files.log")):
            note = "its configuration leaves out every Python file of the tree"
            return _incomplete(check, note, ended.seconds)
    return CheckRun(
        check=check.name,
        complete=True,
        passed=not findings,
        findings=findings,
        seconds=ended.seconds,
    )


def _arguments(words: Sequence[str]) -> list[str]:
    """The user's arguments without what would change the report, and ours after them.

    Nothing is fixed here. Ignore files are not read: a clean checkout has only tracked files,
    and those of a parent folder (a home under git) must not empty it.
    """
    kept: list[str] = []
    is_format = False
    for word in words:
        was_format, is_format = is_format, word == "--output-format"
        if not was_format and not is_format and not word.startswith("--output-format="):
            kept.append(word)
    ours = ("--no-fix", "--no-fix-only", "--no-respect-gitignore")
    return [*kept, *(option for option in ours if option not in kept)]


def _findings(check: Check, checkout: Path, report: bytes) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            check=check.name,
            id=str(entry["code"] or "syntax"),
            message=f"{entry['code'] or 'syntax'}: {plain(str(entry['message']))}",
            path=_within(str(entry["filename"]), checkout),
            line=int(entry["location"]["row"]),
        )
        for entry in json.loads(report)
    )


def _within(filename: str, checkout: Path) -> str:
    return os.path.relpath(filename, checkout) if Path(filename).is_absolute() else filename


def _has_python(checkout: Path) -> bool:
    return any(_is_python(name) for _, _, names in os.walk(checkout) for name in names)


def _is_python(name: str) -> bool:
    return name.rstrip().endswith((".py", ".pyi"))


def _incomplete(check: Check, note: str, seconds: float = 0.0) -> CheckRun:
    return CheckRun(check=check.name, complete=False, passed=False, note=note, seconds=seconds)
