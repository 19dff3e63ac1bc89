"""What the gate found: tests by id, findings, and one verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ON_BASE = "cannot run on the base itself"
EXIT_CODE = "exit code"  # begins the id of a finding: it failed, though no test did
EDITED = "edited:"  # begins the id of a finding: a file that was changed while a check ran


class Verdict(StrEnum):
    """Only PASS lands."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    COULD_NOT_RUN = "could-not-run"  # a missing tool, nothing collected, a crash, a time-out


class TestOutcome(StrEnum):
    __test__ = False  # keep pytest from collecting it

    PASSED = "passed"
    FAILED = "failed"  # an error in set-up or tear-down included
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check found, in words the next attempt can use."""

    check: str  # "pytest", "ruff", or the command's own words
    message: str
    path: str = ""
    line: int = 0
    id: str = ""  # a test id, or a rule; what "the same finding" means

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}: " if self.path else ""
        check = self.check if len(self.check) <= 24 else self.check[:23] + "…"
        return f"[{check}] {where}{self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """One check, run once over one tree. A fact: no comparison has been made yet."""

    check: str
    complete: bool  # False: it could not run to its end, and `note` says why
    passed: bool  # by its own account
    note: str = ""
    tests: Mapping[str, TestOutcome] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeReport:
    """Every check over one tree in a clean checkout. Kept by (tree, gate hash)."""

    tree: str
    gate_hash: str
    runs: tuple[CheckRun, ...]

    def run_of(self, check: str) -> CheckRun | None:
        return next((run for run in self.runs if run.check == check), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """The verdict on one merge result, against its base."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()  # only what is new against the base
    known: int = 0  # findings the base has too
    flaky: tuple[str, ...] = ()  # failed, then passed on the one re-run
    touched: tuple[str, ...] = ()  # tests and configuration the change edits
    restored: tuple[str, ...] = ()  # protected paths taken back from the base
    note: str = ""
    cached: bool = False
    seconds: float = 0.0

    @property
    def base_at_fault(self) -> bool:
        """The gate cannot even run on the base: no task can be blamed, and none can land."""
        return self.verdict is Verdict.COULD_NOT_RUN and ON_BASE in self.note

    @property
    def headline(self) -> str:
        """The verdict's reason in one line; "" for a pass."""
        if self.note or not self.findings:
            return self.note
        head, *rest = str(self.findings[0]).splitlines()
        last = f": {rest[-1].strip()}" if rest else ""  # an error's own words come last
        more = f" (and {len(self.findings) - 1} more)" if len(self.findings) > 1 else ""
        return head + last + more
