"""Ways to turn a failing suite green: none of them may give a complete run that passed."""

from __future__ import annotations

import py_compile
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from fleet.core.report import CheckRun, TestOutcome
from fleet.gate.checks import NO_TESTS

P, F, S = TestOutcome.PASSED, TestOutcome.FAILED, TestOutcome.SKIPPED
FAILING = "def test_a():\n    assert 1 == 2\n"
PASSING = "def test_a():\n    pass\n"
Run = Callable[..., CheckRun]


EXITS = "import pytest\ndef pytest_runtest_setup():\n    pytest.exit('done', 0)\n"
SKIPS_ALL = """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.skip)
"""


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("conftest.py", "import os; os._exit(0)\n", "did not finish"),
        ("conftest.py", EXITS, "interrupted: done"),
        ("conftest.py", "raise SystemExit(0)\n", "did not finish"),
        ("conftest.py", "import atexit, os\natexit.register(os._exit, 0)\n", "before its end"),
        ("conftest.py", "def pytest_runtestloop():\n    return True\n", "never ran"),
        ("conftest.py", "def pytest_runtest_protocol():\n    return True\n", "never ran"),
        ("pytest.ini", "[pytest]\naddopts = --co -q\n", "never ran"),
        ("pytest.ini", "[pytest]\naddopts = --setup-only\n", "never ran"),
        ("pytest.ini", "[pytest]\naddopts = --markers\n", "ran no tests"),
        ("pytest.ini", "[pytest]\naddopts = -k nothing\n", "leave out"),
        ("pytest.ini", "[pytest]\npython_files = nothing\n", NO_TESTS),
        ("pytest.ini", "[pytest]\naddopts = --no-such-option\n", "refused its arguments"),
    ],
)
def test_what_ends_the_run_early_leaves_it_incomplete(
    run: Run, name: str, text: str, note: str
) -> None:
    result = run({"test_a.py": FAILING, name: text})
    assert not result.complete
    assert not result.passed
    assert note in result.note


def test_a_changed_exit_status_hides_no_failure(run: Run) -> None:
    hook = "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"
    result = run({"test_a.py": FAILING, "conftest.py": hook})
    assert result.complete, result.note
    assert not result.passed
    assert result.tests == {"test_a.py::test_a": F}


def test_skipping_everything_is_reported_as_such(run: Run) -> None:
    result = run({"test_a.py": FAILING, "conftest.py": SKIPS_ALL})
    assert result.tests == {"test_a.py::test_a": S}


def test_a_pytest_of_the_checkouts_own_is_not_ours(run: Run) -> None:
    shadow = "raise SystemExit(0)\n"
    files = {"test_a.py": FAILING, "pytest.py": shadow, "src/pytest.py": shadow}
    files |= {"_pytest/__init__.py": shadow, "sitecustomize.py": "import os; os._exit(0)\n"}
    assert run(files).tests == {"test_a.py::test_a": F}


def test_a_planted_bytecode_file_does_not_hide_the_source(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("VALUE = 'planted'\n")
    planted = Path(cache_from_source("m.py"))
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(
        str(tmp_path / "m.py"), str(tmp_path / planted.name), "m.py", invalidation_mode=unchecked
    )
    files: dict[str, str | bytes] = {
        "m.py": "VALUE = 'source'\n",
        f"__pycache__/{planted.name}": (tmp_path / planted.name).read_bytes(),
        "test_a.py": "import m\ndef test_a():\n    assert m.VALUE == 'source'\n",
    }
    assert run(files).passed


def test_a_module_that_exits_while_it_is_imported_leaves_the_run_incomplete(run: Run) -> None:
    result = run({"src/m.py": "import os\nos._exit(0)\n", "test_a.py": "import m\n" + PASSING})
    assert not result.complete
    assert "exit code 0 before its end" in result.note


def test_a_test_that_ends_the_process_is_named(run: Run) -> None:
    result = run({"test_a.py": "import os\ndef test_a():\n    os._exit(0)\n"})
    assert not result.complete
    assert "in test_a.py::test_a" in result.note


def test_a_forked_child_that_comes_back_through_pytest_reports_nothing(run: Run) -> None:
    text = "import os\nPARENT = os.getpid()\n"
    text += "def test_a():\n    if os.fork() == 0:\n        raise SystemExit(0)\n    os.wait()\n"
    text += "def test_b():\n    if os.getpid() == PARENT:\n        os._exit(0)\n"
    result = run({"test_a.py": text})
    assert result.tests == {"test_a.py::test_a": P}
    assert "in test_a.py::test_b" in result.note


@pytest.mark.parametrize("leave", ["os._exit(0)", "return"])
def test_a_report_that_a_test_wrote_into_is_believed_no_more(run: Run, leave: str) -> None:
    # Not what a serious forger would do, but the nonce and the shape have to hold.
    line = b'{"is":"end","nonce":"","status":0,"finished":true}\n'
    text = "import os, pathlib\ndef test_a():\n"
    text += "    for fd in pathlib.Path('/proc/self/fd').iterdir():\n"
    text += "        if os.path.basename(os.path.realpath(fd)).startswith('report'):\n"
    text += f"            os.write(int(fd.name), {line!r})\n            {leave}\n"
    result = run({"test_a.py": text})
    assert not result.complete
    assert ("before its end" if leave == "os._exit(0)" else "does not fit") in result.note


def test_what_was_said_cannot_be_taken_back(run: Run) -> None:
    # As soon as it can: a thread that knows the reporter, and has all the time it wants.
    text = "import gc, threading, time\ndef forge():\n    for _ in range(100):\n"
    text += "        for one in gc.get_objects():\n"
    text += "            if type(one).__name__ == 'Reporter':\n"
    text += "                for test in one._tests.values():\n"
    text += "                    test['outcome'] = 'passed'\n"
    text += "        time.sleep(0.01)\n"
    text += "def test_a():\n    threading.Thread(target=forge, daemon=True).start()\n"
    text += "    assert 1 == 2\ndef test_b():\n    time.sleep(0.5)\n"
    assert run({"test_a.py": text}).tests["test_a.py::test_a"] is F


def test_nothing_of_the_tree_runs_after_the_end(run: Run) -> None:
    text = "import atexit, os\natexit.register(atexit.register, os._exit, 0)\n" + FAILING
    assert run({"test_a.py": text}).tests == {"test_a.py::test_a": F}


def test_helpers_of_tests_are_what_they_were(run: Run) -> None:
    result = run(
        {
            "calc.py": "import sys\ndef f():\n"
            "    sys.modules['support'].same = lambda *_: None\n    return 1\n",
            "tests/support.py": "def same(a, b):\n    assert a == b\n",
            "tests/test_a.py": "import calc, support\ndef test_a():\n    x = calc.f()\n"
            "    support.same(x, 2)\n",
        }
    )
    assert [finding.id for finding in result.findings] == ["changed:support.same"]


def test_a_plugin_of_the_tree_is_named_and_a_conftest_is_not(run: Run) -> None:
    hook = "def pytest_runtest_setup():\n    pass\n"
    files = {"test_a.py": PASSING, "plug.py": hook, "conftest.py": hook}
    assert run(files, "-p plug").findings[0].path == "plug.py"
    assert run({"test_a.py": PASSING, "conftest.py": hook}).findings == ()
