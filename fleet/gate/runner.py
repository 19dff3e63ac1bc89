"""Runs the checks of a gate over one checkout, in an environment that has nothing of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fleet.core.report import EDITED, CheckRun, Finding
from fleet.gate.bench import Bench
from fleet.gate.checks import Check, Kind, Tools, is_test_file
from fleet.gate.command_check import run_command
from fleet.gate.pytest_check import run_pytest
from fleet.gate.ruff_check import run_ruff
from fleet.gate.sources import edited, look
from fleet.process.bounds import Bounds
from fleet.process.sandbox.sandbox import NO_WALLS, Sandbox


def run_checks(
    checks: Sequence[Check],
    tools: Tools,
    checkout: Path,
    scratch: Path,
    *,
    mark: str,
    wall_s: float,
    should_stop: Callable[[], str | None],
    only_tests: Sequence[str] | None = None,
    sandbox: Sandbox = NO_WALLS,
    bounds: Bounds | None = None,
) -> tuple[CheckRun, ...]:
    """One run of each, in the order given; `wall_s` is for each. `scratch` must be private, and
    new to these checks. After a stop the rest is not run."""
    runs: dict[int, CheckRun] = {}
    before = look(checkout)
    # Ruff first: tests execute the change, and may rewrite what ruff would see.
    for number in sorted(range(len(checks)), key=lambda at: checks[at].kind is not Kind.RUFF):
        place = scratch.absolute() / str(number)
        bench = Bench(
            checkout=checkout.absolute(),
            scratch=place,
            env=environment(tools, place / "home", place / "tmp"),
            mark=mark,
            wall_s=wall_s,
            should_stop=should_stop,
            sandbox=sandbox.showing((tools.python, tools.ruff)),
            bounds=replace(bounds, folders=(checkout.absolute(), place)) if bounds else None,
        )
        run = _run(checks[number], tools, bench, only_tests or ())
        after = look(checkout)
        runs[number] = _with_edits(run, checks[number].kind, edited(before, after))
        before = after
    return tuple(runs[number] for number in range(len(checks)))


def _run(check: Check, tools: Tools, bench: Bench, only_tests: Sequence[str]) -> CheckRun:
    reason = bench.should_stop()
    if reason is not None:
        note = f"stopped: {reason}"
        return CheckRun(check=check.name, complete=False, passed=False, note=note)
    for folder in (bench.scratch, bench.scratch / "home", bench.scratch / "tmp"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if check.kind is Kind.PYTEST:
        return run_pytest(check, tools, bench, only=only_tests)
    if check.kind is Kind.RUFF:
        return run_ruff(check, tools, bench)
    return run_command(check, tools, bench)


def _with_edits(run: CheckRun, kind: Kind, paths: Sequence[str]) -> CheckRun:
    """What ran may write what it likes, but not what is still to be judged, or was judged."""
    if kind is Kind.COMMAND:  # such as a generator of code
        paths = [path for path in paths if is_test_file(path)]
    if not paths or not run.complete:
        return run
    findings = (
        Finding(
            check=run.check,
            id=f"{EDITED}{path}",
            path=path,
            message=f"{path} was changed, planted or deleted while the check ran",
        )
        for path in paths
    )
    return replace(run, findings=(*run.findings, *findings))


def environment(tools: Tools, home: Path, tmp: Path) -> dict[str, str]:
    """What a check may see of the machine: an allow-list, so that no secret is passed on."""
    return {
        "PATH": tools.path,
        "HOME": str(home),
        "TMPDIR": str(tmp),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "CI": "1",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
