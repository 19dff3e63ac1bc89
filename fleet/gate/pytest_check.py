"""One run of pytest over one checkout, in the repository's own interpreter.

An exit code is no evidence: a run is complete only when the report has its closing line, with
our nonce, and says the same as the exit code, and every selected test has an outcome. A test
module or conftest.py that cannot be imported is a failed id of its own, its path.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fleet.core.report import EXIT_CODE, CheckRun, Finding, TestOutcome
from fleet.gate.bench import Bench
from fleet.gate.checks import NO_TESTS, TEST_FOLDERS, Check, Tools, is_test_module
from fleet.gate.pytest_report import Report, read_report
from fleet.gate.tape import Tape
from fleet.process.supervise import End, Ended

LAUNCHER = Path(__file__).with_name("pytest_main.py")
INSIDE = LAUNCHER.with_name("inside")

_STATUS = {
    2: "it was interrupted",
    3: "it broke down",
    4: "it refused its arguments or configuration",
}


def run_pytest(check: Check, tools: Tools, bench: Bench, *, only: Sequence[str] = ()) -> CheckRun:
    """Run the tests, or `only` these ids and files, in place of those the command names.

    A file of `only` that holds no tests itself stands for those it may concern: conftest.py for
    its folder's, helpers and data for all of their test folder; if they are in none, for all.
    """
    nonce, tape, spec = (
        secrets.token_hex(16),
        Tape(bench.scratch / "report"),
        bench.scratch / "spec",
    )
    instructions = {
        "secret": nonce,
        "inside": str(INSIDE),
        "report": str(tape.path),
        "checkout": str(bench.checkout),
        "top": str(tools.top or ""),
        "args": _arguments(check, bench),
        "only": _targets(only),
    }
    spec.write_text(json.dumps(instructions), encoding="utf-8")
    # A planted .pyc that claims to need no check against its source would win over it.
    options = ("-I", "--check-hash-based-pycs", "always")
    with tape:
        ended = _listening(bench, tape).run(
            (str(tools.python), *options, str(LAUNCHER), str(spec)), shows=(LAUNCHER, INSIDE)
        )
        report = read_report(tape.text(), nonce)
    note = _shortfall(ended, report)
    passed = ended.code == 0 and TestOutcome.FAILED not in report.tests.values()
    return CheckRun(
        check=check.name,
        complete=not note,
        passed=not note and passed,
        note=note,
        tests=report.tests,
        findings=() if note else tuple(_findings(check, report, ended, bench)),
        seconds=ended.seconds,
    )


def _listening(bench: Bench, tape: Tape) -> Bench:
    def should_stop() -> str | None:
        tape.pull()
        return bench.should_stop()

    return replace(bench, should_stop=should_stop)


def _arguments(check: Check, bench: Bench) -> list[str]:
    """The user's arguments, then ours, which win: everything runs, nothing is left behind."""
    return [
        *check.argv,
        f"--rootdir={bench.checkout}",
        f"--confcutdir={bench.checkout}",
        "--continue-on-collection-errors",
        "--maxfail=0",
        "-o",
        f"cache_dir={bench.scratch / 'cache'}",
    ]


def _targets(only: Sequence[str]) -> list[str]:
    targets = [name if "::" in name or is_test_module(name) else _concerns(name) for name in only]
    return [] if "." in targets else list(dict.fromkeys(targets))


def _concerns(path: str) -> str:
    *folders, name = PurePosixPath(path).parts
    if name == "conftest.py":
        return str(PurePosixPath(path).parent)
    tests = next((at for at, folder in enumerate(folders) if folder in TEST_FOLDERS), None)
    return "." if tests is None else "/".join(folders[: tests + 1])


def _shortfall(ended: Ended, report: Report) -> str:
    """Why the run is no evidence, or nothing."""
    during = f", in {', '.join(report.running[:3])}" if report.running else ""
    said = f": {ended.last_line}" if ended.last_line else ""
    if ended.end is not End.EXITED:
        return f"{ended.reason}{during}"
    if report.status is None:
        why = report.interrupted or f"exit code {ended.code} before its end{during}{said}"
        return f"it did not finish: {why}"
    if report.damaged or report.status != ended.code:
        return f"its report does not fit its exit code {ended.code}: something changed one of them"
    if report.unimportable and not report.session_finished:
        return ""  # a conftest.py: no session begins, and the report says why
    if report.interrupted:
        return f"it was interrupted: {report.interrupted}"
    if ended.code in _STATUS or not report.session_finished:
        return f"{_STATUS.get(ended.code or 0, 'it ran no tests')}{said}"
    if report.never:
        return f"{report.never} of the tests it selected never ran, such as {report.first_never}"
    if not report.tests:
        return f"{NO_TESTS} but {report.deselected} to leave out" if report.deselected else NO_TESTS
    return ""


def _findings(check: Check, report: Report, ended: Ended, bench: Bench) -> Iterator[Finding]:
    """What the run has to say of tests that did not simply pass, skipped ones included."""
    for told in report.told:
        yield Finding(
            check=check.name, id=told.id, message=told.message, path=told.path, line=told.line
        )
    for id_, message in report.noticed.items():
        place = id_.partition(":")[2] if id_.startswith("plugin:") else ""
        yield Finding(check=check.name, id=id_, message=message, path=place)
    if ended.code != 0 and TestOutcome.FAILED not in report.tests.values():
        # Such as coverage below its threshold.
        code = f"{EXIT_CODE} {ended.code}"
        message = f"{code} though no test failed\n{bench.last_said()}"
        yield Finding(check=check.name, id=code, message=message)
