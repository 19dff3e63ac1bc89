"""Proof that a tree is good: its checks in a clean checkout, compared with its base.

DESIGN. Reports are facts about a tree and cached by (tree, gate hash); verdicts are computed
from two reports each time. So the base's report is made once, is inherited from each landing
(the landed tree's own report), and a tree that was gated before costs nothing again. At most
`slots` gates run at once on one machine, whoever asks: the slots are flocks.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.core.report import CheckRun, GateReport, TreeReport, Verdict
from fleet.core.task import TestRule
from fleet.gate.candidate import Candidate
from fleet.gate.checks import Check, Kind, Tools, identity, parse
from fleet.gate.codec import decode, encode
from fleet.gate.compare import judge, newly_failing
from fleet.gate.runner import run_checks
from fleet.repo.hub import Hub
from fleet.store.claims import Held, hold, try_hold
from fleet.store.layout import Layout
from fleet.store.reports import Reports

SLOT_POLL_S = 0.05
Stopped = Callable[[], str | None]


class Interrupted(Exception):
    """The caller was told to stop while the gate was at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One way of proving trees: which checks, with which tools, how long."""

    hub: Hub
    reports: Reports
    layout: Layout
    checks: tuple[Check, ...]
    tools: Tools
    timeout_s: float
    slots: int

    @property
    def gate_hash(self) -> str:
        return identity(self.checks, self.tools)

    def prove(
        self, candidates: Sequence[Candidate], *, extra: Sequence[str], mark: str, stopped: Stopped
    ) -> GateReport:
        """Judge the last candidate's tree against the first one's base.

        One candidate is an attempt; several are a batch, each built on the one before. `extra`
        are the tasks' own commands. A PASS is durable before this returns.
        """
        began = time.monotonic()
        top, base = candidates[-1], candidates[0]
        base_report = self.base_report(base.base_tree, mark=mark, stopped=stopped)
        known = self._known(top.tree, extra)
        if known is None:
            with self._slot(stopped), self._checkout(top.tree) as (checkout, scratch):
                merged = self._run(top.tree, extra, checkout, scratch, mark, stopped)
                rerun = self._rerun(merged, base_report, checkout, scratch, mark, stopped)
        else:
            merged, rerun = known, None
        report = self._verdict(candidates, merged, base_report, rerun, mark, stopped)
        if report.verdict is Verdict.FAIL and known is not None and rerun is None:
            report = self._second_look(candidates, merged, base_report, report, mark, stopped)
        report = replace(report, cached=known is not None, seconds=time.monotonic() - began)
        if report.verdict is Verdict.PASS:
            self.reports.passed(top.tree, base=base.base_tree, now=time.time())
        return report

    def base_report(self, tree: str, *, mark: str, stopped: Stopped) -> TreeReport:
        """What the checks say of the base, made once however many ask."""
        while True:
            found = self._known(tree, ())
            if found is not None:
                return found
            held = hold(self.layout.base_lock(tree), timeout_s=1.0)
            if held is None:
                _check(stopped)
                continue
            with held:
                found = self._known(tree, ())
                if found is not None:
                    return found
                with self._slot(stopped), self._checkout(tree) as (checkout, scratch):
                    return self._run(tree, (), checkout, scratch, mark, stopped)

    def _known(self, tree: str, extra: Sequence[str]) -> TreeReport | None:
        """The cached report of a tree with exactly these extra commands, if there is one."""
        body = self.reports.find(tree, self._key(extra))
        if body is None:
            return None
        return decode(body)

    def _key(self, extra: Sequence[str]) -> str:
        if not extra:
            return self.gate_hash
        return hashlib.sha256("\0".join((self.gate_hash, *sorted(set(extra)))).encode()).hexdigest()

    def _run(
        self,
        tree: str,
        extra: Sequence[str],
        checkout: Path,
        scratch: Path,
        mark: str,
        stopped: Stopped,
    ) -> TreeReport:
        checks = (*self.checks, *(parse(command) for command in dict.fromkeys(extra)))
        runs = run_checks(
            checks,
            self.tools,
            checkout,
            scratch,
            mark=mark,
            wall_s=self.timeout_s,
            should_stop=stopped,
        )
        _check(stopped)
        report = TreeReport(tree=tree, gate_hash=self._key(extra), runs=runs)
        if all(run.complete for run in runs):
            self.reports.keep(tree, report.gate_hash, encode(report), now=time.time())
        return report

    def _rerun(
        self,
        merged: TreeReport,
        base: TreeReport,
        checkout: Path,
        scratch: Path,
        mark: str,
        stopped: Stopped,
    ) -> CheckRun | None:
        """The one re-run of what newly fails, which tells flaky from broken."""
        check = self._pytest()
        ours = check and merged.run_of(check.name)
        theirs = check and base.run_of(check.name)
        if check is None or ours is None or theirs is None or not ours.complete:
            return None
        ids = newly_failing(ours, theirs)
        if not ids:
            return None
        return self._tests(check, ids, checkout, scratch / "rerun", mark, stopped)

    def _second_look(
        self,
        candidates: Sequence[Candidate],
        merged: TreeReport,
        base: TreeReport,
        report: GateReport,
        mark: str,
        stopped: Stopped,
    ) -> GateReport:
        """A cached failure may have been a flaky one: re-run what failed before believing it."""
        with self._slot(stopped), self._checkout(merged.tree) as (checkout, scratch):
            rerun = self._rerun(merged, base, checkout, scratch, mark, stopped)
        if rerun is None:
            return report
        return self._verdict(candidates, merged, base, rerun, mark, stopped)

    def _verdict(
        self,
        candidates: Sequence[Candidate],
        merged: TreeReport,
        base: TreeReport,
        rerun: CheckRun | None,
        mark: str,
        stopped: Stopped,
    ) -> GateReport:
        edited = _of(candidates, "edited_tests")
        free = all(candidate.tests is TestRule.MAY_CHANGE for candidate in candidates)
        guarded = tuple(
            path
            for candidate in candidates
            if candidate.tests is TestRule.KEEP
            for path in candidate.edited_tests
        )
        as_base = self._as_base(candidates, guarded, mark, stopped) if guarded else None
        return judge(
            merged,
            base,
            rule=TestRule.MAY_CHANGE if free else TestRule.KEEP,
            edited_tests=edited,
            as_base=as_base,
            rerun=rerun,
            restored=_of(candidates, "restored"),
            touched=_of(candidates, "touched"),
        )

    def _as_base(
        self, candidates: Sequence[Candidate], edited: tuple[str, ...], mark: str, stopped: Stopped
    ) -> CheckRun | None:
        """The base's version of edited or deleted tests, over the merge result."""
        check = self._pytest()
        if check is None:
            return None
        tree = self.hub.overlay(candidates[-1].tree, candidates[0].base_tree, edited)
        with self._slot(stopped), self._checkout(tree) as (checkout, scratch):
            runnable = [path for path in edited if (checkout / path).is_file()]
            return self._tests(check, runnable, checkout, scratch, mark, stopped)

    def _tests(
        self,
        check: Check,
        only: Sequence[str],
        checkout: Path,
        scratch: Path,
        mark: str,
        stopped: Stopped,
    ) -> CheckRun:
        scratch.mkdir(mode=0o700, exist_ok=True)
        (run,) = run_checks(
            (check,),
            self.tools,
            checkout,
            scratch,
            mark=mark,
            wall_s=self.timeout_s,
            should_stop=stopped,
            only_tests=only,
        )
        _check(stopped)
        return run

    def _pytest(self) -> Check | None:
        return next((check for check in self.checks if check.kind is Kind.PYTEST), None)

    @contextmanager
    def _slot(self, stopped: Stopped) -> Iterator[Held]:
        wait = threading.Event()
        while True:
            for number in range(self.slots):
                held = try_hold(self.layout.gate_slot(number))
                if held is not None:
                    with held:
                        yield held
                    return
            _check(stopped)
            wait.wait(SLOT_POLL_S)

    @contextmanager
    def _checkout(self, tree: str) -> Iterator[tuple[Path, Path]]:
        """A clean checkout and a scratch folder beside it, both gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix=f"gate-{tree[:10]}-", dir=self.layout.workspaces))
        try:
            checkout, scratch = folder / "checkout", folder / "scratch"
            scratch.mkdir(mode=0o700)
            checkout.mkdir(mode=0o700)
            self.hub.materialise(tree, checkout)
            yield checkout, scratch
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def checks_of(commands: Sequence[str]) -> tuple[Check, ...]:
    """The configured commands as checks; an empty gate is an error, never a pass."""
    if not commands:
        raise FleetError(
            "fleet.toml: [gate] commands is empty: nothing would be proven. Name at least one, "
            'such as commands = ["pytest"]'
        )
    return tuple(parse(command) for command in commands)


def _check(stopped: Stopped) -> None:
    reason = stopped()
    if reason is not None:
        raise Interrupted(reason)


def _of(candidates: Sequence[Candidate], name: str) -> tuple[str, ...]:
    """A field of all candidates, in order, each value once."""
    return tuple(
        dict.fromkeys(value for candidate in candidates for value in getattr(candidate, name))
    )
