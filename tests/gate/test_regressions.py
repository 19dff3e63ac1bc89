from __future__ import annotations

from fleet.core.report import CheckRun, Finding, TestOutcome
from fleet.core.task import TestRule
from fleet.gate.regressions import Difference, Terms, compare_tests, newly_failing

P, F, S = TestOutcome.PASSED, TestOutcome.FAILED, TestOutcome.SKIPPED
XF, XP = TestOutcome.XFAILED, TestOutcome.XPASSED
A, B = "tests/test_a.py::test_a", "tests/test_b.py::test_b"


def ran(tests: dict[str, TestOutcome], *findings: Finding, check: str = "pytest") -> CheckRun:
    passed = F not in tests.values()
    return CheckRun(check=check, complete=True, passed=passed, tests=tests, findings=findings)


def difference(
    now: CheckRun,
    before: CheckRun | None,
    *,
    rule: TestRule = TestRule.KEEP,
    edited: tuple[str, ...] = (),
    as_base: CheckRun | None = None,
    rerun: CheckRun | None = None,
) -> Difference:
    terms = Terms(rule=rule, edited=frozenset(edited), as_base=as_base, rerun=rerun)
    return compare_tests(now, before, terms)


def test_a_test_that_passed_and_now_fails_is_a_finding_with_its_message() -> None:
    said = Finding(check="pytest", id=A, message="assert 1 == 2", path="src/m.py", line=3)
    found = difference(ran({A: F}, said), ran({A: P}))
    assert found.findings
    assert found.findings == (
        Finding(
            check="pytest",
            id=A,
            message=f"{A} fails; it passed on the base\nassert 1 == 2",
            path="src/m.py",
            line=3,
        ),
    )


def test_a_failure_the_base_has_too_is_known_and_does_not_count() -> None:
    found = difference(ran({A: F, B: P}), ran({A: F, B: P}))
    assert found.findings == ()
    assert found.known == 1


def test_a_new_test_that_fails_counts() -> None:
    assert difference(ran({A: P, B: F}), ran({A: P})).findings


def test_a_skipped_or_xfailed_test_of_the_base_that_fails_now_counts() -> None:
    for before in (S, XF):
        assert difference(ran({A: F}), ran({A: before})).findings


def test_a_new_skipped_test_is_fine() -> None:
    assert difference(ran({A: P, B: S}), ran({A: P})).findings == ()


def test_an_xpass_is_as_good_as_a_pass() -> None:
    assert difference(ran({A: XP}), ran({A: P})).findings == ()
    assert difference(ran({A: S}), ran({A: XP})).findings


def test_a_passing_test_that_is_skipped_now_is_a_finding_with_the_reason() -> None:
    said = Finding(check="pytest", id=A, message="not today")
    for outcome in (S, XF):
        found = difference(ran({A: outcome, B: P}, said), ran({A: P, B: P}))
        assert found.findings
        assert found.findings[0].message == (
            f"{A} passed on the base and is {outcome.value} now\nnot today"
        )


def test_a_passing_test_that_is_missing_now_is_a_finding() -> None:
    found = difference(ran({B: P}), ran({A: P, B: P}))
    assert found.findings
    assert "does not run now" in found.findings[0].message


def test_a_test_whose_whole_file_is_skipped_is_missing() -> None:
    found = difference(ran({"tests/test_a.py": S, B: P}), ran({A: P, B: P}))
    assert found.findings
    assert "(its file is skipped)" in found.findings[0].message


def test_a_failing_or_skipped_test_of_the_base_may_go() -> None:
    assert difference(ran({B: P}), ran({A: F, B: P})).findings == ()
    assert difference(ran({B: P}), ran({A: S, B: P})).findings == ()


def test_a_deleted_test_is_excused_when_the_bases_version_still_passes() -> None:
    edited = ("tests/test_a.py",)
    base, now = ran({A: P, B: P}), ran({B: P})
    assert difference(now, base, edited=edited, as_base=ran({A: P})).findings == ()
    for then in (F, S, XF):
        gone = difference(now, base, edited=edited, as_base=ran({A: then}))
        assert gone.findings, then
        assert len(gone.findings) == 1


def test_an_edited_test_that_nobody_ran_as_the_base_has_it_is_no_pass() -> None:
    edited = ("tests/test_a.py",)
    assert difference(ran({A: P}), ran({A: P}), edited=edited).findings
    other = difference(ran({A: P, B: P}), ran({A: P, B: P}), edited=edited, as_base=ran({B: P}))
    assert other.findings


def test_a_test_weakened_until_it_passes_is_caught_by_the_bases_version() -> None:
    said = Finding(check="pytest", id=A, message="assert 3 == 4")
    found = difference(
        ran({A: P}), ran({A: P}), edited=("tests/test_a.py",), as_base=ran({A: F}, said)
    )
    assert found.findings
    assert found.findings[0].message == f"the base's version of {A} fails now\nassert 3 == 4"


def test_a_test_the_base_fails_may_be_mended() -> None:
    found = difference(ran({A: P}), ran({A: F}), edited=("tests/test_a.py",), as_base=ran({A: F}))
    assert found.findings == ()


def test_an_edited_conftest_is_judged_by_the_tests_it_serves() -> None:
    edited = ("tests/conftest.py",)
    base = ran({A: P, B: P})
    assert difference(base, base, edited=edited, as_base=ran({A: P, B: P})).findings == ()
    assert difference(base, base, edited=edited, as_base=ran({A: P, B: F})).findings


def test_a_base_version_that_cannot_be_imported_is_said_once() -> None:
    more = {f"tests/test_a.py::test_{n}": P for n in range(9)}
    found = difference(
        ran({**more, B: P}),
        ran({**more, B: P}),
        edited=("tests/test_a.py",),
        as_base=ran({"tests/test_a.py": F}),
    )
    assert [finding.id for finding in found.findings] == ["tests/test_a.py"]


def test_may_change_excuses_what_its_task_may_do() -> None:
    base, may, edited = ran({A: P, B: P}), TestRule.MAY_CHANGE, ("tests/test_a.py",)
    assert difference(ran({B: P}), base, rule=may, edited=edited).findings == ()
    assert difference(ran({A: S, B: P}), base, rule=may, edited=edited).findings == ()
    assert difference(ran({A: P, B: S}), base, rule=may, edited=edited).findings
    assert difference(ran({A: F, B: P}), base, rule=may, edited=edited).findings


def test_a_file_that_cannot_be_imported_is_one_finding_not_one_for_each_test() -> None:
    more = {f"tests/test_a.py::test_{n}": P for n in range(9)}
    found = difference(ran({"tests/test_a.py": F, B: P}), ran({**more, B: P}))
    assert found.findings
    assert [finding.id for finding in found.findings] == ["tests/test_a.py"]


def test_a_broken_conftest_speaks_for_the_tests_under_it_only() -> None:
    other = "other/test_c.py::test_c"
    found = difference(ran({"tests/conftest.py": F}), ran({A: P, B: P, other: P}))
    assert sorted(finding.id for finding in found.findings) == [other, "tests/conftest.py"]


def test_a_file_broken_on_the_base_excuses_no_missing_test() -> None:
    # The base could not import the folder, and yet ran a test in it: so can the change.
    found = difference(ran({"tests": F}), ran({"tests": F, A: P}))
    assert found.findings
    assert [finding.id for finding in found.findings] == [A]


def test_a_failure_that_passes_on_its_rerun_is_flaky_and_said_so() -> None:
    found = difference(ran({A: F, B: P}), ran({A: P, B: P}), rerun=ran({A: P}))
    assert found.findings == ()
    assert found.flaky == (A,)


def test_a_failure_that_fails_again_is_broken() -> None:
    found = difference(ran({A: F, B: F}), ran({A: P, B: P}), rerun=ran({A: P, B: F}))
    assert found.findings
    assert [finding.id for finding in found.findings] == [B]
    assert found.flaky == (A,)


def test_a_rerun_that_did_not_run_the_test_or_was_cut_excuses_nothing() -> None:
    cut = CheckRun(check="pytest", complete=False, passed=False, note="cut", tests={A: P})
    for rerun in (ran({B: P}), ran({A: S}), cut, ran({A: P}, check="pytest -q")):
        assert difference(ran({A: F}), ran({A: P}), rerun=rerun).findings


def test_only_new_failures_with_an_id_are_worth_a_rerun() -> None:
    now = ran({A: F, B: F, "tests/test_c.py": F, "tests/test_d.py::test_d": P})
    assert newly_failing(now, ran({B: F})) == (A,)
    assert newly_failing(now, None) == (A, B)


def test_an_exit_code_without_a_failing_test_counts_unless_the_base_has_it() -> None:
    low = Finding(check="pytest", id="exit code 1", message="coverage 71 %")
    lower = Finding(check="pytest", id="exit code 1", message="coverage 70 %")
    assert difference(ran({A: P}, low), ran({A: P})).findings
    assert difference(ran({A: P}, lower), ran({A: P}, low)).findings == ()
