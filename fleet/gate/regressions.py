"""Where the tests of a change fall behind those of its base, test by test. Pure.

A test is its id; its file is the part before `::`. A failing id without `::` is a file or folder
that could not be imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from fleet.core.report import EDITED, EXIT_CODE, CheckRun, Finding, TestOutcome
from fleet.core.task import TestRule

_PASSING = (TestOutcome.PASSED, TestOutcome.XPASSED)
_NOTHING: Mapping[str, TestOutcome] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is known of the change, besides the two reports."""

    rule: TestRule
    edited: frozenset[str]
    as_base: CheckRun | None
    rerun: CheckRun | None
    named: frozenset[str] = frozenset()  # files that tasks name: what they are is their business


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    findings: tuple[Finding, ...] = ()
    known: int = 0
    flaky: tuple[str, ...] = ()


def newly_failing(merged_run: CheckRun, base_run: CheckRun | None) -> tuple[str, ...]:
    """The tests worth one re-run. A file that cannot be imported is not among them."""
    before = base_run.tests if base_run else _NOTHING
    return tuple(name for name in _new_failures(merged_run.tests, before) if "::" in name)


def compare_tests(run: CheckRun, base: CheckRun | None, terms: Terms) -> Difference:
    before = base.tests if base else _NOTHING
    new = _new_failures(run.tests, before)
    flaky = frozenset(
        name for name in new if "::" in name and _passed_again(name, run, base, terms)
    )
    findings = (
        *_failures(run, before, [name for name in new if name not in flaky]),
        *_lost(run, before, terms),
        *_as_the_base_has_them(before, terms),
        *_of_no_test(run, base, terms),
        *(_tampered(terms.as_base, base, terms) if terms.as_base else ()),
    )
    failing = sum(outcome is TestOutcome.FAILED for outcome in run.tests.values())
    return Difference(findings=findings, known=failing - len(new), flaky=tuple(sorted(flaky)))


def _new_failures(
    now: Mapping[str, TestOutcome], before: Mapping[str, TestOutcome]
) -> tuple[str, ...]:
    failed = TestOutcome.FAILED
    return tuple(name for name in now if now[name] is failed and before.get(name) is not failed)


def _passed_again(name: str, run: CheckRun, base: CheckRun | None, terms: Terms) -> bool:
    rerun = terms.rerun
    if rerun is None or not rerun.complete or rerun.check != run.check:
        return False
    if _tampered(rerun, base, terms):
        return False
    return rerun.tests.get(name) in _PASSING


def _of_no_test(run: CheckRun, base: CheckRun | None, terms: Terms) -> Iterator[Finding]:
    """What is wrong with the run as a whole, such as its exit code, or what was done to it."""
    known = {finding.id for finding in base.findings} if base else set()
    for finding in run.findings:
        allowed = finding.path in terms.named and not finding.id.startswith(EDITED)
        if finding.id not in run.tests and finding.id not in known and not allowed:
            yield finding


def _tampered(run: CheckRun, base: CheckRun | None, terms: Terms) -> tuple[Finding, ...]:
    """The same of a run of only some tests, whose exit code says nothing."""
    return tuple(
        finding for finding in _of_no_test(run, base, terms) if not finding.id.startswith(EXIT_CODE)
    )


def _failures(
    run: CheckRun, before: Mapping[str, TestOutcome], names: Collection[str]
) -> Iterator[Finding]:
    voice = _Voice(run)
    for name in names:
        history = "; it passed on the base" if before.get(name) in _PASSING else ""
        yield voice.about(name, f"{name} fails{history}")


def _lost(run: CheckRun, before: Mapping[str, TestOutcome], terms: Terms) -> Iterator[Finding]:
    """Tests that passed on the base and now neither pass nor fail."""
    voice, broken = _Voice(run), _newly_broken(run, before)
    for name in _passing(before):
        now = run.tests.get(name)
        if now is None and not _may_be_gone(name, terms) and not _is_under(name, broken):
            skipped = run.tests.get(_file(name)) is TestOutcome.SKIPPED
            why = " (its file is skipped)" if skipped else ""
            yield voice.about(name, f"{name} passed on the base and does not run now{why}")
        elif now in (TestOutcome.SKIPPED, TestOutcome.XFAILED) and not _may_skip(name, terms):
            yield voice.about(name, f"{name} passed on the base and is {now.value} now")


def _may_be_gone(name: str, terms: Terms) -> bool:
    # Under KEEP the base's version of an edited file must have run it: that is looked at below.
    return terms.rule is TestRule.MAY_CHANGE or _file(name) in terms.edited


def _may_skip(name: str, terms: Terms) -> bool:
    return terms.rule is TestRule.MAY_CHANGE and _file(name) in terms.edited


def _as_the_base_has_them(before: Mapping[str, TestOutcome], terms: Terms) -> Iterator[Finding]:
    """Tests of edited files that passed on the base, and do not in the base's version."""
    if terms.rule is TestRule.MAY_CHANGE or not terms.edited:
        return
    run = terms.as_base or CheckRun(check="pytest", complete=False, passed=False)
    voice, passing = _Voice(run), _passing(before)
    broken = [
        place
        for place in _newly_broken(run, before)
        if any(_is_under(name, (place,)) for name in passing)
    ]
    for name in broken:
        yield voice.about(name, f"the base's version of {name} cannot be imported now")
    for name in passing:
        now = run.tests.get(name)
        if now is TestOutcome.FAILED:
            yield voice.about(name, f"the base's version of {name} fails now")
        elif _file(name) in terms.edited and now not in _PASSING and not _is_under(name, broken):
            what = f"is {now.value} now" if now else "does not run now"
            yield voice.about(name, f"the base's version of {name} {what}")


def files_of(tests: Iterable[str]) -> frozenset[str]:
    """The files that hold these tests and nothing else: no doctests, whose ids name a module."""
    return frozenset(
        _file(name) for name in tests if "." not in name.partition("::")[2].partition("[")[0]
    )


def _passing(tests: Mapping[str, TestOutcome]) -> list[str]:
    return [name for name, outcome in tests.items() if outcome in _PASSING]


def _newly_broken(run: CheckRun, before: Mapping[str, TestOutcome]) -> tuple[str, ...]:
    """Test files and folders that now fail as such: it is said once, not of each test in them."""
    return tuple(name for name in _new_failures(run.tests, before) if "::" not in name)


def _is_under(name: str, broken: Collection[str]) -> bool:
    file = _file(name)
    for place in broken:
        folder = place.removesuffix("conftest.py").rstrip("/")
        if file == place or folder in ("", ".") or file.startswith(f"{folder}/"):
            return True
    return False


def _file(name: str) -> str:
    return name.partition("::")[0]


class _Voice:
    """What a run has to say of each test."""

    def __init__(self, run: CheckRun) -> None:
        self._check = run.check
        self._said = {finding.id: finding for finding in run.findings}

    def about(self, name: str, message: str) -> Finding:
        told = self._said.get(name)
        if told is None:
            return Finding(check=self._check, message=message, path=_file(name), id=name)
        return replace(told, message=f"{message}\n{told.message}".rstrip())
