from __future__ import annotations

from fleet.core.report import CheckRun, Finding, GateReport, TestOutcome, TreeReport, Verdict
from fleet.core.task import TestRule
from fleet.gate.checks import NO_TESTS
from fleet.gate.compare import MAX_FINDINGS, NO_GATE, judge

P, F = TestOutcome.PASSED, TestOutcome.FAILED
A, B = "tests/test_a.py::test_a", "tests/test_b.py::test_b"


def ran(
    tests: dict[str, TestOutcome] | None = None, *findings: Finding, check: str = "pytest"
) -> CheckRun:
    passed = F not in (tests or {}).values() and (bool(tests) or not findings)
    return CheckRun(check=check, complete=True, passed=passed, tests=tests or {}, findings=findings)


def broke(note: str, check: str = "pytest") -> CheckRun:
    return CheckRun(check=check, complete=False, passed=False, note=note)


def verdict(
    now: CheckRun | tuple[CheckRun, ...],
    before: CheckRun | tuple[CheckRun, ...],
    *,
    rule: TestRule = TestRule.KEEP,
    edited: tuple[str, ...] = (),
    as_base: CheckRun | None = None,
    rerun: CheckRun | None = None,
) -> GateReport:
    return judge(
        tree(now),
        tree(before),
        rule=rule,
        edited_tests=edited,
        as_base=as_base,
        rerun=rerun,
    )


def tree(runs: CheckRun | tuple[CheckRun, ...]) -> TreeReport:
    return TreeReport(tree="t", gate_hash="g", runs=runs if isinstance(runs, tuple) else (runs,))


def test_a_change_that_keeps_all_tests_passing_passes() -> None:
    report = verdict(ran({A: P, B: P}), ran({A: P}))
    assert report.verdict is Verdict.PASS
    assert report.findings == ()


def test_a_run_that_was_not_complete_is_no_verdict() -> None:
    report = verdict(broke("killed by SIGKILL"), ran({A: P}))
    assert report.verdict is Verdict.COULD_NOT_RUN
    assert report.note == "pytest: killed by SIGKILL"


def test_a_base_that_cannot_run_is_named_as_the_one_that_cannot() -> None:
    for now in (broke("ran longer than 2 s"), ran({A: P})):
        report = verdict(now, broke("killed by SIGKILL"))
        assert report.verdict is Verdict.COULD_NOT_RUN
        assert report.note == "pytest cannot run on the base itself: killed by SIGKILL"


def test_a_base_without_tests_can_be_given_its_first_ones() -> None:
    assert verdict(ran({A: P}), broke(NO_TESTS)).verdict is Verdict.PASS
    assert verdict(ran({A: F}), broke(NO_TESTS)).verdict is Verdict.FAIL
    neither = verdict(broke(NO_TESTS), broke(NO_TESTS))
    assert neither.verdict is Verdict.COULD_NOT_RUN


def test_base_versions_that_could_not_run_are_no_verdict() -> None:
    edited = ("tests/test_a.py",)
    report = verdict(ran({A: P}), ran({A: P}), edited=edited, as_base=broke("crash"))
    assert report.verdict is Verdict.COULD_NOT_RUN
    assert "base's version" in report.note


def test_no_checks_at_all_is_no_verdict() -> None:
    report = verdict((), ())
    assert report.verdict is Verdict.COULD_NOT_RUN
    assert report.note == NO_GATE


def test_a_check_that_only_the_base_ran_is_no_verdict() -> None:
    both = (ran({A: P}), ran(check="ruff check"))
    assert verdict(ran({A: P}), both).verdict is Verdict.COULD_NOT_RUN


def lint(path: str, line: int, rule: str = "F401") -> Finding:
    return Finding(check="ruff check", id=rule, message=f"{rule}: no", path=path, line=line)


def ruff(*findings: Finding) -> CheckRun:
    return ran(None, *findings, check="ruff check")


def test_lint_findings_that_only_moved_are_known() -> None:
    report = verdict(
        ruff(lint("m.py", 9), lint("m.py", 10)), ruff(lint("m.py", 1), lint("m.py", 2))
    )
    assert report.verdict is Verdict.PASS
    assert report.known == 2


def test_one_more_lint_finding_of_the_same_kind_counts() -> None:
    report = verdict(ruff(lint("m.py", 1), lint("m.py", 2)), ruff(lint("m.py", 1)))
    assert report.verdict is Verdict.FAIL
    assert (len(report.findings), report.known) == (1, 1)


def test_lint_findings_of_another_rule_or_file_are_new() -> None:
    before = ruff(lint("m.py", 1))
    assert verdict(ruff(lint("n.py", 1)), before).verdict is Verdict.FAIL
    assert verdict(ruff(lint("m.py", 1, "F821")), before).verdict is Verdict.FAIL


def test_against_a_base_ruff_cannot_read_every_lint_finding_counts() -> None:
    before = broke("bad configuration", check="ruff check")
    assert verdict(ruff(), before).verdict is Verdict.PASS
    assert verdict(ruff(lint("m.py", 1)), before).verdict is Verdict.FAIL


def test_a_command_must_pass_whatever_it_does_on_the_base() -> None:
    failed = Finding(check="make lint", message="exit code 2")
    bad = ran(None, failed, check="make lint")
    good = ran(check="make lint")
    assert verdict(good, bad).verdict is Verdict.PASS
    assert verdict(good, broke("no make", check="make lint")).verdict is Verdict.PASS
    assert verdict(bad, good).findings == (failed,)
    both = verdict(bad, bad)
    assert both.verdict is Verdict.FAIL
    assert both.findings[0].message == "also fails on the base: exit code 2"


def test_a_check_the_base_was_not_asked_is_judged_alone() -> None:
    extra = "pytest tests/slow"
    base = ran({A: P})
    assert verdict((base, ran({B: P}, check=extra)), base).verdict is Verdict.PASS
    assert verdict((base, ran({B: F}, check=extra)), base).verdict is Verdict.FAIL


def test_what_is_complete_is_reported_beside_what_could_not_run() -> None:
    now = (broke("killed"), ruff(lint("m.py", 1)))
    report = verdict(now, (ran({A: P}), ruff()))
    assert report.verdict is Verdict.COULD_NOT_RUN
    assert report.findings == (lint("m.py", 1),)


def test_a_flood_of_findings_is_bounded() -> None:
    many = ruff(*(lint("m.py", n, f"F{n}") for n in range(MAX_FINDINGS + 5)))
    report = verdict(many, ruff())
    assert len(report.findings) == MAX_FINDINGS + 1
    assert report.findings[-1].message == "and 5 findings more"
