"""The verdict on a merge result: what its report has that its base's has not. Pure.

Only what is new counts. A failure of the base is known, whoever caused it; but a test that passed
on the base must still run and pass, as the base has it, unless the task says that tests may
change. Whatever could not be run is no pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from fleet.core.report import EDITED, ON_BASE, CheckRun, Finding, GateReport, TreeReport, Verdict
from fleet.core.task import TestRule
from fleet.gate.checks import NO_TESTS, Kind, parse
from fleet.gate.regressions import Difference, Terms, compare_tests

MAX_FINDINGS = 200
NO_GATE = "no gate is configured"


def judge(
    merged: TreeReport,
    base: TreeReport,
    *,
    rule: TestRule,
    edited_tests: Collection[str],
    as_base: CheckRun | None,
    rerun: CheckRun | None,
    named: Collection[str] = (),
    restored: tuple[str, ...] = (),
    touched: tuple[str, ...] = (),
) -> GateReport:
    """`edited_tests` are test files of the base that the change edits or deletes, `as_base` their
    base versions run over the merge result, `rerun` the one re-run of what newly fails."""
    terms = Terms(
        rule=rule,
        edited=frozenset(edited_tests),
        as_base=as_base,
        rerun=rerun,
        named=frozenset(named),
    )
    parts = [_difference(run, base.run_of(run.check), terms) for run in merged.runs if run.complete]
    findings = tuple(dict.fromkeys(finding for part in parts for finding in part.findings))
    note = _unproven(merged, base, terms)
    verdict = Verdict.COULD_NOT_RUN if note else Verdict.FAIL if findings else Verdict.PASS
    return GateReport(
        verdict=verdict,
        findings=_bounded(findings),
        known=sum(part.known for part in parts),
        flaky=tuple(dict.fromkeys(name for part in parts for name in part.flaky)),
        touched=touched,
        restored=restored,
        note=note,
        seconds=sum(run.seconds for run in merged.runs),
    )


def _unproven(merged: TreeReport, base: TreeReport, terms: Terms) -> str:
    """Why there can be no verdict, or nothing."""
    if not merged.runs:
        return NO_GATE
    for run in merged.runs:
        then = base.run_of(run.check)
        unusable = then is not None and not then.complete and then.note != NO_TESTS
        if then is not None and unusable and (not run.complete or _kind(run) is Kind.PYTEST):
            return f"{run.check} {ON_BASE}: {then.note}"
        if not run.complete:
            return f"{run.check}: {run.note}"
    for then in base.runs:
        if merged.run_of(then.check) is None:
            return f"{then.check}: it was run on the base only"
    as_base = terms.as_base if terms.rule is TestRule.KEEP else None
    if as_base is not None and not as_base.complete and as_base.note != NO_TESTS:
        return f"{as_base.check}, with the base's version of edited tests: {as_base.note}"
    return ""


def _difference(run: CheckRun, base: CheckRun | None, terms: Terms) -> Difference:
    kind = _kind(run)
    if kind is Kind.PYTEST:
        return compare_tests(run, base, terms)
    if kind is Kind.RUFF:
        findings, known = _surplus(run.findings, base.findings if base else ())
        return Difference(findings=findings, known=known)
    return _command(run, base)


def _command(run: CheckRun, base: CheckRun | None) -> Difference:
    edits = tuple(finding for finding in run.findings if finding.id.startswith(EDITED))
    known = {finding.id for finding in base.findings} if base else set()
    if run.passed:
        return Difference(findings=tuple(edit for edit in edits if edit.id not in known))
    findings = run.findings or (Finding(check=run.check, message="it failed"),)
    if base is not None and base.complete and not base.passed:
        findings = tuple(
            replace(finding, message=f"also fails on the base: {finding.message}")
            for finding in findings
        )
    return Difference(findings=findings)


def _surplus(
    now: tuple[Finding, ...], before: tuple[Finding, ...]
) -> tuple[tuple[Finding, ...], int]:
    """What there is more of than before, wherever in its file, and how much is not new."""
    left = Counter((finding.path, finding.id, finding.message) for finding in before)
    surplus = []
    for finding in now:
        key = (finding.path, finding.id, finding.message)
        if left[key] > 0:
            left[key] -= 1
        else:
            surplus.append(finding)
    return tuple(surplus), len(now) - len(surplus)


def _kind(run: CheckRun) -> Kind:
    return parse(run.check).kind


def _bounded(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    if len(findings) <= MAX_FINDINGS:
        return findings
    left_out = len(findings) - MAX_FINDINGS
    more = Finding(check=findings[-1].check, message=f"and {left_out} findings more")
    return (*findings[:MAX_FINDINGS], more)
