from __future__ import annotations

import os
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.core.report import CheckRun, TestOutcome
from fleet.gate.checks import Tools

P, F, S = TestOutcome.PASSED, TestOutcome.FAILED, TestOutcome.SKIPPED
FAILING = "def test_a():\n    assert 1 == 2\n"
PASSING = "def test_a():\n    pass\n"
Run = Callable[..., CheckRun]


EVERY_OUTCOME = """
import pytest

@pytest.fixture
def broken():
    raise OSError("no set-up")

@pytest.fixture
def messy():
    yield
    raise OSError("no tear-down")

def test_passes():
    pass

def test_fails():
    assert 1 == 2, "sums"

def test_has_no_set_up(broken):
    pass

def test_has_no_tear_down(messy):
    pass

@pytest.mark.skip(reason="not today")
def test_skipped():
    pass

@pytest.mark.xfail(reason="known")
def test_xfails():
    assert False

@pytest.mark.xfail
def test_xpasses():
    pass

@pytest.mark.xfail(strict=True)
def test_xpasses_though_strict():
    pass

def test_some_subtests(subtests):
    for n in range(3):
        with subtests.test(n=n):
            assert n != 1
"""


def test_every_outcome_is_reported_by_id_with_its_reason(run: Run) -> None:
    result = run({"tests/test_all.py": EVERY_OUTCOME})
    assert result.complete, result.note
    assert not result.passed
    assert result.tests == {
        f"tests/test_all.py::test_{name}": outcome
        for name, outcome in {
            "passes": P,
            "fails": F,
            "has_no_set_up": F,
            "has_no_tear_down": F,
            "skipped": S,
            "xfails": TestOutcome.XFAILED,
            "xpasses": TestOutcome.XPASSED,
            "xpasses_though_strict": F,
            "some_subtests": F,
        }.items()
    }
    told = {finding.id.partition("::")[2]: finding for finding in result.findings}
    assert "sums" in told["test_fails"].message
    assert (told["test_fails"].path, told["test_fails"].line) == ("tests/test_all.py", 17)
    assert told["test_skipped"].message.endswith("not today")
    assert told["test_xfails"].message == "known"
    assert "test_passes" not in told


def test_workers_in_parallel_report_the_same_ids(run: Run) -> None:
    files = {"tests/test_all.py": EVERY_OUTCOME, "tests/test_b.py": PASSING}
    alone, spread = run(files), run(files, "-n 2")
    assert spread.complete, spread.note
    assert spread.tests == alone.tests
    only = ("tests/test_b.py", "tests/test_all.py::test_fails")
    few = run(files, "tests -n 2", only=only)
    assert few.tests == {"tests/test_b.py::test_a": P, "tests/test_all.py::test_fails": F}


def test_only_some_tests_run_in_place_of_those_the_command_names(run: Run) -> None:
    files = {
        "unit/test_a.py": PASSING,
        "unit/test_b.py": PASSING + "def test_b(thing):\n    pass\n",
        "unit/conftest.py": "import pytest\n@pytest.fixture\ndef thing():\n    return 1\n",
        "other/test_c.py": PASSING,
    }
    one = run(files, "unit/test_a.py", only=["unit/test_b.py::test_b"])
    assert one.tests == {"unit/test_b.py::test_b": P}, one.note
    folder = run(files, only=["unit/conftest.py"])  # it stands for the tests it serves
    assert sorted(folder.tests) == [
        "unit/test_a.py::test_a",
        "unit/test_b.py::test_a",
        "unit/test_b.py::test_b",
    ]


def test_a_file_that_cannot_be_imported_fails_under_its_path_and_the_rest_runs(run: Run) -> None:
    result = run({"test_a.py": "import no_such_thing\n", "test_b.py": PASSING})
    assert result.complete, result.note
    assert not result.passed
    assert result.tests == {"test_a.py": F, "test_b.py::test_a": P}
    assert "no_such_thing" in result.findings[0].message


def test_a_conftest_that_cannot_be_imported_fails_under_its_path(run: Run) -> None:
    result = run({"conftest.py": "import no_such_thing\n", "test_b.py": PASSING})
    assert result.complete, result.note
    assert result.tests == {"conftest.py": F}
    assert "no_such_thing" in result.findings[0].message


def test_a_test_that_hangs_is_stopped_and_named(run: Run) -> None:
    text = "import time\ndef test_a():\n    time.sleep(60)\n"
    result = run({"test_a.py": text, "test_b.py": PASSING}, wall_s=6.0)
    assert not result.complete
    assert "longer than 6 s" in result.note
    assert "in test_a.py::test_a" in result.note
    assert result.seconds < 30


def test_stopping_at_the_first_failure_is_overruled(run: Run) -> None:
    result = run({"test_a.py": FAILING + "def test_b():\n    pass\n"}, "-x")
    assert result.tests == {"test_a.py::test_a": F, "test_a.py::test_b": P}


def test_the_cache_options_of_a_repository_work_without_its_cache(run: Run) -> None:
    result = run({"pytest.ini": "[pytest]\naddopts = --ff\n", "test_a.py": PASSING})
    assert result.passed, result.note


def test_tests_see_nothing_of_the_users_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--co")
    text = "import os, sys\ndef test_a():\n    assert 'SOME_API_KEY' not in os.environ\n"
    text += f"    assert os.environ['HOME'] != {os.environ.get('HOME', '')!r}\n"
    text += "    assert 'spec' not in ' '.join(sys.argv)\n"
    text += "    assert not os.path.exists(os.environ['TMPDIR'] + '/../spec')\n"
    assert run({"test_a.py": text}).passed


def test_without_pytest_the_run_is_incomplete_and_says_so(run: Run, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    tools = Tools(python=tmp_path / "bare" / "bin" / "python", ruff=None, path="/bin")
    result = run({"test_a.py": PASSING}, tools=tools)
    assert not result.complete
    assert "pytest is not installed" in result.note


def test_an_interpreter_that_is_not_there_leaves_the_run_incomplete(run: Run) -> None:
    tools = Tools(python=Path("/no/such/python"), ruff=None, path="/bin")
    result = run({"test_a.py": PASSING}, tools=tools)
    assert not result.complete
    assert "/no/such/python" in result.note


def test_an_editable_install_of_the_users_checkout_does_not_win(run: Run, tmp_path: Path) -> None:
    top = tmp_path / "top"
    packages = editable(top, "lib")
    (top / "lib" / "thing.py").write_text("WHERE = 'the user'\n")
    (top / "lib" / "gone.py").write_text("")
    (packages / "copied.py").write_text("WHERE = 'the packages'\n")
    tools = Tools(python=top / ".venv" / "bin" / "python", ruff=None, path="/bin", top=top)
    assert (packages / "editable.pth").is_file()
    files = {
        "lib/thing.py": "WHERE = 'the change'\n",
        "src/copied.py": "WHERE = 'the change'\n",
        "test_a.py": (
            "import subprocess, sys, copied, pytest, thing\n"
            "SAY = 'import thing; print(thing.WHERE)'\n"
            "def test_here():\n    assert {thing.WHERE, copied.WHERE} == {'the change'}\n"
            "def test_in_a_child():\n"
            "    said = subprocess.check_output([sys.executable, '-c', SAY], text=True)\n"
            "    assert said == 'the change\\n'\n"
            "def test_what_the_change_deletes_is_gone():\n"
            "    with pytest.raises(ImportError):\n        import gone\n"
        ),
    }
    result = run(files, tools=tools)
    assert result.passed, (result.note, result.findings)
    assert len(result.tests) == 3


def editable(top: Path, folder: str) -> Path:
    """A venv in a checkout, with our pytest and an editable install of one of its folders."""
    (top / folder).mkdir(parents=True)
    venv.create(top / ".venv", symlinks=True)
    (packages,) = (top / ".venv" / "lib").glob("python3*/site-packages")
    ours = Path(pytest.__file__).parent.parent
    (packages / "editable.pth").write_text(f"{ours}\n{top / folder}\n")
    return packages
