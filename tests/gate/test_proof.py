from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.report import GateReport, Verdict
from fleet.core.task import Task, TestRule
from fleet.gate.candidate import Candidate, build
from fleet.gate.checks import find_tools
from fleet.gate.cleanroom import Caller, CleanRoom, Interrupted
from fleet.gate.environment import Environments
from fleet.gate.policy import Rules
from fleet.gate.proof import Gate, checks_of
from fleet.repo.hub import Hub
from fleet.store.claims import try_hold
from fleet.store.layout import Layout
from fleet.store.reports import Reports
from tests.builders import a_database, a_task

PYTEST = "pytest -q -p no:hypothesispytest -p no:xdist"
RULES = Rules(protected=("**/conftest.py",), restore=True, max_file_bytes=1_000_000)
CALLER = Caller(mark=f"test-proof/{os.getpid()}", stopped=lambda: None)


class Scene:
    """A repository with one module and its test, its hub, and a gate over it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "project"
        self.path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("calc.py", "def double(x):\n    return 2 * x\n")
        self.write("test_calc.py", DOUBLES)
        self.write("test_old.py", "def test_known():\n    assert False\n")
        self.base = self.commit()
        self.layout = Layout(common_dir=folder / "state", top=self.path, cache=folder / "cache")
        self.layout.prepare()
        self.hub = Hub(self.layout.hub)
        self.hub.create(self.path / ".git")
        self.hub.take(self.path / ".git", self.base)
        self.db = a_database(folder)
        tools = find_tools(wanted_python="", top=None, search="/usr/bin:/bin")
        room = CleanRoom(hub=self.hub, layout=self.layout, tools=tools, timeout_s=60.0, slots=1)
        self.gate = Gate(
            room=room,
            reports=Reports(self.db),
            checks=checks_of([PYTEST]),
            environments=Environments(
                hub=self.hub, layout=self.layout, tools=tools, setup=(), lock_files=()
            ),
        )

    def git(self, *args: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *args],
            cwd=self.path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        return self.git("rev-parse", "HEAD")

    def attempt(self, task: Task | None = None, *, on: str = "", **files: str | None) -> Candidate:
        """A change to the base, as a candidate."""
        self.git("checkout", "-q", "--detach", self.base)
        for name, text in files.items():
            path = self.path / f"{name}.py"
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        head = self.hub.take(self.path / ".git", self.commit())
        return build(
            self.hub,
            task or a_task(),
            base=on or self.base,
            head=head,
            rules=RULES,
            checks=self.gate.checks,
        )

    def prove(self, *candidates: Candidate, extra: tuple[str, ...] = ()) -> GateReport:
        return self.gate.prove(candidates, extra=extra, by=CALLER)


DOUBLES = "from calc import double\n\n\ndef test_double():\n    assert double(2) == 4\n"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.db.close()


def test_a_good_change_passes_although_the_base_has_a_failing_test(scene: Scene) -> None:
    candidate = scene.attempt(calc="def double(x):\n    return x + x\n")
    report = scene.prove(candidate)
    assert report.verdict is Verdict.PASS
    assert report.known == 1
    assert scene.gate.reports.has_passed(candidate.tree)


def test_a_tree_is_gated_once_and_its_report_is_the_next_base_report(scene: Scene) -> None:
    candidate = scene.attempt(calc="def double(x):\n    return x + x\n")
    assert not scene.prove(candidate).cached
    assert scene.prove(candidate).cached
    held = try_hold(scene.layout.gate_slot(0))  # no gate can run now, and none needs to
    assert held is not None
    with held:
        inherited = scene.gate.base_report(candidate.tree, by=CALLER)
    assert inherited.tree == candidate.tree


def test_a_broken_change_fails_and_says_where(scene: Scene) -> None:
    candidate = scene.attempt(calc="def double(x):\n    return x\n")
    report = scene.prove(candidate)
    assert report.verdict is Verdict.FAIL
    assert [finding.id for finding in report.findings] == ["test_calc.py::test_double"]
    assert not scene.gate.reports.has_passed(candidate.tree)


def test_a_deleted_test_is_run_as_the_base_has_it(scene: Scene) -> None:
    broken = "def double(x):\n    return x\n"
    assert scene.prove(scene.attempt(calc=broken, test_calc=None)).verdict is Verdict.FAIL
    allowed = a_task(tests=TestRule.MAY_CHANGE)
    report = scene.prove(scene.attempt(allowed, calc=broken, test_calc=None))
    assert report.verdict is Verdict.PASS


def test_a_flaky_test_is_told_from_a_broken_one(scene: Scene, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flaky = (
        "from pathlib import Path\n\n\ndef test_flaky():\n"
        f"    flag = Path({str(flag)!r})\n    seen = flag.exists()\n    flag.touch()\n"
        "    assert seen\n"
    )
    report = scene.prove(scene.attempt(test_new=flaky))
    assert report.verdict is Verdict.PASS
    assert report.flaky == ("test_new.py::test_flaky",)


def test_a_conftest_that_skips_everything_is_taken_back(scene: Scene) -> None:
    skips = (
        "import pytest\n\n\ndef pytest_collection_modifyitems(items):\n"
        "    for item in items:\n        item.add_marker(pytest.mark.skip)\n"
    )
    candidate = scene.attempt(calc="def double(x):\n    return x\n", conftest=skips)
    assert candidate.restored == ("conftest.py",)
    assert scene.prove(candidate).verdict is Verdict.FAIL


def test_a_change_of_nothing_but_protected_files_is_refused(scene: Scene) -> None:
    assert "protected" in scene.attempt(conftest="x = 1\n").refusal
    named = a_task(paths=("conftest.py",))
    assert scene.attempt(named, conftest="x = 1\n").stands


def test_a_tasks_own_command_must_pass_too(scene: Scene) -> None:
    candidate = scene.attempt(calc="def double(x):\n    return x + x\n")
    assert scene.prove(candidate, extra=("false",)).verdict is Verdict.FAIL
    assert scene.prove(candidate, extra=("true",)).verdict is Verdict.PASS


def test_a_gate_that_cannot_run_is_no_verdict(scene: Scene) -> None:
    candidate = scene.attempt(calc="import os\n\nos._exit(0)\n")
    report = scene.prove(candidate)
    assert report.verdict is Verdict.COULD_NOT_RUN
    missing = replace(scene.gate, checks=checks_of(["no-such-command-here"]))
    report = missing.prove([candidate], extra=(), by=CALLER)
    assert report.verdict is Verdict.COULD_NOT_RUN


def test_a_batch_is_judged_as_a_whole(scene: Scene) -> None:
    one = scene.attempt(calc="def double(x):\n    return x + x\n")
    other = scene.attempt(extra="y = 1\n")
    report = scene.prove(one, replace(other, base_tree=one.tree))
    assert report.verdict is Verdict.PASS


def test_a_stop_ends_the_gate_without_a_verdict(scene: Scene) -> None:
    candidate = scene.attempt(calc="def double(x):\n    return x + x\n")
    stopping = Caller(mark=CALLER.mark, stopped=lambda: "stopped")
    with pytest.raises(Interrupted):
        scene.gate.prove([candidate], extra=(), by=stopping)
    assert not scene.gate.reports.has_passed(candidate.tree)


def test_an_environment_is_built_once_for_each_lock_file(scene: Scene, tmp_path: Path) -> None:
    built = tmp_path / "built"
    script = f"import pathlib; pathlib.Path({str(built)!r}).open('a').write('x')"
    environments = replace(
        scene.gate.environments, setup=(f"python3 -c {script!r}",), lock_files=("lock",)
    )
    tree = scene.hub.tree_of(scene.base)
    first = environments.ensure(tree, CALLER)
    assert environments.ensure(tree, CALLER) == first
    assert built.read_text() == "x"
    scene.git("checkout", "-q", "main")
    scene.write("lock", "2")
    locked = scene.hub.take(scene.path / ".git", scene.commit())
    assert environments.ensure(scene.hub.tree_of(locked), CALLER) != first
    assert built.read_text() == "xx"
