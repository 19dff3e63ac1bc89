"""Proof that a tree is good: its checks in a clean checkout, compared with its base.

DESIGN. Reports are facts about a tree and cached by (tree, gate hash); verdicts are computed
from two reports each time. So the base's report is made once, is inherited from each landing
(the landed tree's own report), and a tree that was gated before costs nothing again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.core.report import EXIT_CODE, CheckRun, GateReport, TestOutcome, TreeReport, Verdict
from fleet.core.task import TestRule
from fleet.gate.candidate import Candidate
from fleet.gate.checks import Check, Kind, identity, parse
from fleet.gate.cleanroom import Caller, CleanRoom
from fleet.gate.codec import decode, encode
from fleet.gate.compare import judge
from fleet.gate.environment import Environments, tools_in
from fleet.gate.regressions import files_of, newly_failing
from fleet.repo.merge import overlay
from fleet.store.claims import hold
from fleet.store.reports import Reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One way of proving trees: which checks, where, and what is known already."""

    room: CleanRoom
    reports: Reports
    checks: tuple[Check, ...]
    environments: Environments

    @property
    def gate_hash(self) -> str:
        return identity(self.checks, self.room.tools)

    def inside(self, place: Path | None) -> Gate:
        """This gate with the tools of a tree's environment."""
        return replace(self, room=replace(self.room, tools=tools_in(place, self.room.tools)))

    def prove(
        self, candidates: Sequence[Candidate], *, extra: Sequence[str], by: Caller
    ) -> GateReport:
        """Judge the last candidate's tree against the first one's base.

        One candidate is an attempt; several are a batch, each built on the one before. `extra`
        are the tasks' own commands. The caller has a gate slot, unless the report `is_known`.
        A PASS is durable before this returns. Raises `Interrupted`.
        """
        place = self.environments.ensure(candidates[-1].tree, by)
        return self.inside(place)._prove(candidates, extra, by)

    def is_known(self, tree: str, extra: Sequence[str], by: Caller) -> bool:
        """Whether this tree was gated before, in this very way."""
        return self.inside(self.environments.ensure(tree, by))._known(tree, extra) is not None

    def _prove(
        self, candidates: Sequence[Candidate], extra: Sequence[str], by: Caller
    ) -> GateReport:
        began = time.monotonic()
        tree, base = candidates[-1].tree, candidates[0].base_tree
        before = self.base_report(base, by=by)
        known = self._known(tree, extra)
        merged, rerun = (known, None) if known else self._examine(tree, extra, before, by)
        candidates = [_with_its_tests(candidate, before) for candidate in candidates]
        as_base = self._as_base(candidates, by)
        report = _judge(candidates, merged, before, as_base, rerun)
        if known and report.verdict is Verdict.FAIL:
            # What failed when the tree was first seen may have been flaky: look again.
            rerun = self._rerun(merged, before, by)
            report = _judge(candidates, merged, before, as_base, rerun)
        if report.verdict is Verdict.PASS:
            self.reports.passed(tree, base=base, now=time.time())
        return replace(report, cached=known is not None, seconds=time.monotonic() - began)

    def base_report(self, tree: str, *, by: Caller) -> TreeReport:
        """What the checks say of the base, made once however many ask at the same time."""
        while True:
            found = self._known(tree, ())
            if found is not None:
                return found
            held = hold(self.room.layout.base_lock(tree), timeout_s=1.0)
            if held is None:
                by.check()
                continue
            with held:
                found = self._known(tree, ())
                if found is not None:
                    return found
                with self.room.open(tree, by) as checkout:
                    report = TreeReport(
                        tree=tree, gate_hash=self.gate_hash, runs=checkout.run(self.checks)
                    )
                self._keep(report)
                return report

    def _examine(
        self, tree: str, extra: Sequence[str], before: TreeReport, by: Caller
    ) -> tuple[TreeReport, CheckRun | None]:
        """Run every check, and once more what newly fails: that tells flaky from broken."""
        checks = (*self.checks, *(parse(command) for command in dict.fromkeys(extra)))
        with self.room.open(tree, by) as checkout:
            report = TreeReport(tree=tree, gate_hash=self._key(extra), runs=checkout.run(checks))
        rerun = self._rerun(report, before, by)
        self._keep(_without_flakes(report, rerun))
        return report, rerun

    def _rerun(self, report: TreeReport, before: TreeReport, by: Caller) -> CheckRun | None:
        """In a checkout of its own: the first run may have left things that excuse it."""
        check = self._pytest()
        if check is None:
            return None
        ours = report.run_of(check.name)
        if ours is None or not ours.complete:
            return None
        ids = newly_failing(ours, before.run_of(check.name))
        if not ids:
            return None
        with self.room.open(report.tree, by) as checkout:
            return checkout.run((check,), only_tests=ids)[0]

    def _as_base(self, candidates: Sequence[Candidate], by: Caller) -> CheckRun | None:
        """The base's version of edited or deleted tests, over the merge result."""
        check = self._pytest()
        guarded = [
            path
            for candidate in candidates
            if candidate.tests is TestRule.KEEP
            for path in candidate.edited_tests
        ]
        if check is None or not guarded:
            return None
        # What the change adds to the tests goes too: it may come before what it replaces.
        added = [path for candidate in candidates for path in candidate.new_tests]
        away = tuple(dict.fromkeys((*guarded, *added)))
        tree = overlay(self.room.hub, candidates[-1].tree, candidates[0].base_tree, away)
        with self.room.open(tree, by) as checkout:
            there = [path for path in dict.fromkeys(guarded) if checkout.has(path)]
            if not there:
                return None
            run = checkout.run((check,), only_tests=there)[0]
        failed = [id_ for id_, how in run.tests.items() if how is TestOutcome.FAILED]
        if not failed:
            return run
        with self.room.open(tree, by) as checkout:
            again = checkout.run((check,), only_tests=failed)[0]
        return _passed_again(run, again)

    def _known(self, tree: str, extra: Sequence[str]) -> TreeReport | None:
        """The cached report of a tree under exactly these checks, if there is one."""
        body = self.reports.find(tree, self._key(extra))
        return decode(body) if body is not None else None

    def _keep(self, report: TreeReport) -> None:
        """Only complete reports are facts; what could not run may run the next time."""
        if all(run.complete for run in report.runs):
            self.reports.keep(report.tree, report.gate_hash, encode(report), now=time.time())

    def _key(self, extra: Sequence[str]) -> str:
        if not extra:
            return self.gate_hash
        return hashlib.sha256("\0".join((self.gate_hash, *sorted(set(extra)))).encode()).hexdigest()

    def _pytest(self) -> Check | None:
        return next((check for check in self.checks if check.kind is Kind.PYTEST), None)


def checks_of(commands: Sequence[str]) -> tuple[Check, ...]:
    """The configured commands as checks; an empty gate is an error, never a pass."""
    if not commands:
        raise FleetError(
            "fleet.toml: [gate] commands is empty: nothing would be proven. Name at least one, "
            'such as commands = ["pytest"]'
        )
    try:
        return tuple(parse(command) for command in commands)
    except ValueError as error:
        raise FleetError(f"fleet.toml: [gate] commands: {error}") from error


def _judge(
    candidates: Sequence[Candidate],
    merged: TreeReport,
    before: TreeReport,
    as_base: CheckRun | None,
    rerun: CheckRun | None,
) -> GateReport:
    free = all(candidate.tests is TestRule.MAY_CHANGE for candidate in candidates)
    return judge(
        merged,
        before,
        rule=TestRule.MAY_CHANGE if free else TestRule.KEEP,
        edited_tests=_all(candidate.edited_tests for candidate in candidates),
        as_base=as_base,
        rerun=rerun,
        named=_all(candidate.named for candidate in candidates),
        restored=_all(candidate.restored for candidate in candidates),
        touched=_all(candidate.touched for candidate in candidates),
    )


def _with_its_tests(candidate: Candidate, before: TreeReport) -> Candidate:
    """With edited tests that are tests by their configuration, not by their name."""
    tests = files_of(name for run in before.runs for name in run.tests)
    edited = dict.fromkeys((*candidate.edited_tests, *tests.intersection(candidate.edited)))
    restored = frozenset(candidate.restored)
    return replace(candidate, edited_tests=tuple(path for path in edited if path not in restored))


def _without_flakes(report: TreeReport, rerun: CheckRun | None) -> TreeReport:
    """The report to remember: a test that passed on its re-run does pass on this tree."""
    runs = tuple(
        _passed_again(run, rerun if rerun and run.check == rerun.check else None)
        for run in report.runs
    )
    return replace(report, runs=runs)


def _passed_again(run: CheckRun, rerun: CheckRun | None) -> CheckRun:
    if rerun is None or not rerun.complete or _was_tampered_with(rerun, run):
        return run
    passed = {id_ for id_, outcome in rerun.tests.items() if outcome is TestOutcome.PASSED}
    return replace(
        run,
        tests={
            id_: TestOutcome.PASSED if id_ in passed else outcome
            for id_, outcome in run.tests.items()
        },
        findings=tuple(finding for finding in run.findings if finding.id not in passed),
    )


def _was_tampered_with(rerun: CheckRun, run: CheckRun) -> bool:
    known = {finding.id for finding in run.findings}
    return any(
        finding.id not in {*known, *rerun.tests} and not finding.id.startswith(EXIT_CODE)
        for finding in rerun.findings
    )


def _all(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for group in groups for value in group))
