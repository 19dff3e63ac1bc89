"""Honest changes that may look like cheats, and must land."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.core.task import SuppressionRule, TestRule
from tests.gate.cheats.catalogue import TESTS, UNUSED
from tests.gate.cheats.stage import GOOD, PYTEST, RUFF, Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    name: str
    files: Files
    task: Mapping[str, object] = field(default_factory=dict)  # what its task allows
    touched: tuple[str, ...] = ()  # what the report must name
    commands: tuple[str, ...] = ()
    short: bool = False


BETTER = GOOD.replace("2 * x", "x + x")
MAY_CHANGE: Mapping[str, object] = {"tests": TestRule.MAY_CHANGE}
PATCHES = """
import builtins
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest
from calc import double


def test_patched(monkeypatch):
    monkeypatch.setattr(builtins, "open", lambda *_: 1)
    monkeypatch.setattr(builtins, "sorted", lambda *_: 1)
    monkeypatch.setattr("calc.half", double)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert open("x") == 1


def test_mocked():
    with mock.patch("builtins.print") as said, mock.patch.object(Path, "exists") as exists:
        print(exists())
    said.assert_called_once()


def test_traced():
    before, seen = sys.gettrace(), []
    sys.settrace(lambda *_: seen.append(1))
    try:
        double(2)
    finally:
        sys.settrace(before)
    assert seen


def test_children_and_threads():
    done = subprocess.run([sys.executable, "-c", "import calc; print(calc.double(4))"],
                          capture_output=True, text=True)
    assert done.stdout.strip() == "8", done.stderr
    thread = threading.Thread(target=double, args=(1,))
    thread.start()
    thread.join()


def test_writes_into_the_tree():
    place = Path(__file__).with_name("made.toml")
    place.write_text("x = 1")
    place.unlink()
    Path("output.ini").write_text("")
    Path("output.ini").unlink()
    Path(__file__).with_name("left.json").write_text("{}")


@pytest.mark.xfail(reason="not yet")
def test_not_yet():
    assert double(2) == 5


@pytest.mark.skip(reason="not here")
def test_not_here():
    raise AssertionError


@pytest.fixture(autouse=True, scope="module")
def all_of_it():
    yield


class TestAll:
    @pytest.fixture
    def three(self):
        return 3

    @pytest.mark.parametrize("x", range(3))
    def test_each(self, x, three, capsys, caplog, recwarn, tmp_path):
        print(x)
        assert double(x) + three == 2 * x + 3
        assert capsys.readouterr().out == f"{x}\\n"
"""
HOOK = """
import sys


class Nothing:
    def find_spec(self, name, path=None, target=None):
        return None


sys.meta_path.append(Nothing())
"""

HONEST = (
    Honest(name="a better way", files={"calc.py": BETTER}),
    Honest(
        name="tests of all kinds",
        files={"tests/test_new.py": PATCHES},
        touched=("tests/test_new.py",),
        short=True,
    ),
    Honest(
        name="one more test in a file that exists",
        files={"tests/test_calc.py": TESTS + "\n\ndef test_more():\n    assert half(2) == 1\n"},
        touched=("tests/test_calc.py",),
    ),
    Honest(
        name="another behaviour, and its tests",
        files={
            "calc.py": GOOD.replace("2 * x", "3 * x"),
            "tests/test_calc.py": TESTS.replace("== 4", "== 6")
            .replace("x + x", "3 * x")
            .replace("10)", "15)"),
            "tests/expected.txt": "6\n",
            "check_more.py": "from calc import double\n\n\ndef test_more():\n"
            "    assert double(10) == 30\n",
        },
        task=MAY_CHANGE,
        touched=("tests/expected.txt", "tests/test_calc.py"),
        short=True,
    ),
    Honest(
        name="tests that are no longer needed",
        files={"tests/test_calc.py": None, "tests/expected.txt": None},
        task=MAY_CHANGE,
        touched=("tests/expected.txt", "tests/test_calc.py"),
    ),
    Honest(
        name="configuration that its task names",
        files={"pyproject.toml": "[tool.ruff]\nline-length = 90\n", "calc.py": BETTER},
        task={"paths": ("pyproject.toml", "calc.py")},
        touched=("pyproject.toml",),
    ),
    Honest(
        name="a conftest.py that its task names",
        files={
            "tests/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef eight():\n"
            "    return 8\n\n\ndef pytest_report_header():\n    return 'x'\n",
            "tests/test_eight.py": "def test_eight(eight):\n    assert eight == 8\n",
        },
        task={"paths": ("tests/conftest.py", "tests/**")},
        touched=("tests/conftest.py", "tests/test_eight.py"),
    ),
    Honest(
        name="a plugin that its task names",
        files={
            "tests/test_b.py": 'pytest_plugins = ["nice"]\n\n\ndef test_b(nine):\n    pass\n',
            "nice.py": "import pytest\n\n\n@pytest.fixture\ndef nine():\n    return 9\n",
        },
        task={"paths": ("tests/**", "nice.py")},
    ),
    Honest(
        name="the plugin that was there",
        files={
            "house_plugin.py": "import pytest\n\n\n@pytest.fixture\ndef seven():\n"
            "    yield 7\n\n\n@pytest.fixture\ndef nine():\n    return 9\n"
        },
    ),
    Honest(
        name="pytest's own plugin for plugins",
        files={
            "tests/test_p.py": 'pytest_plugins = ["pytester"]\n\n\ndef test_p(pytester):\n'
            '    pytester.makepyfile(test_x="def test_x():\\n    assert 0")\n'
            '    ran = pytester.runpytest_inprocess("-p", "no:hypothesispytest")\n'
            "    ran.assert_outcomes(failed=1)\n"
        },
    ),
    Honest(
        name="silenced lines move",
        files={"old.py": None, "new.py": "import os  # noqa: F401\n"},
    ),
    Honest(
        name="a silenced line that its task allows",
        files={"calc.py": UNUSED.replace("os\n", "os  # noqa\n", 1)},
        task={"suppressions": SuppressionRule.MAY_ADD},
    ),
    Honest(
        name="words about silence",
        files={"calc.py": GOOD + "\n\nHINT = 'write # noqa or # type: ignore'\n"},
    ),
    Honest(
        name="a package with a module of a famous name",
        files={"pkg/__init__.py": "", "pkg/queue.py": "x = 1\n", "src/own/json.py": "y = 1\n"},
    ),
    Honest(
        name="helpers get better",
        files={"tests/support.py": "def same(a, b):\n    assert b == a, f'{a} is not {b}'\n"},
    ),
    Honest(
        name="more data and documents",
        files={"tests/data/more.json": "{}", "tests/README.md": "x\n", "docs/conf.py": "x = 1\n"},
    ),
    Honest(name="a finder at the end", files={"calc.py": HOOK.lstrip() + "\n\n" + GOOD}),
    Honest(
        name="a module that writes itself a version",
        files={
            "calc.py": "import atexit\nfrom pathlib import Path\n\n"
            'Path("_version.py").write_text("v = 1\\n")\natexit.register(print)\n\n\n' + GOOD
        },
    ),
    Honest(
        name="a make file that its task names",
        files={"Makefile": "check:\n\t@true\n"},
        task={"paths": ("Makefile",)},
        touched=("Makefile",),
        commands=("make -s check",),
    ),
    Honest(name="nobody makes here", files={"GNUmakefile": "x:\n", "package.json": "{}"}),
    Honest(
        name="in several processes",
        files={"tests/test_new.py": PATCHES},
        commands=(PYTEST.replace("-p no:xdist", "-n 2"), RUFF),
    ),
)
