"""Changes that cheat: what the branch does, and the words by which it is turned away.

Each of them breaks `calc.double`, or has a finding of ruff, and tries to land all the same. What
runs is usually `calc.py`, because tests import it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.gate.cheats.stage import BROKEN, GOOD, PROJECT, PYTEST, RUFF, Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Cheat:
    name: str
    files: Files
    says: str  # part of why it does not land
    commands: tuple[str, ...] = ()  # of the gate; () is the usual one
    short: bool = False  # one of those that every run of the suite tries
    broken: bool = True  # `calc.py` is broken, unless `files` has one

    @property
    def change(self) -> Files:
        return {**({"calc.py": BROKEN} if self.broken else {}), **self.files}


def runs(code: str, **more: str) -> Files:
    """`calc.py` runs this when it is imported, before its own broken code; and more modules."""
    modules = {f"{name}.py": text for name, text in more.items()}
    return {"calc.py": f"{code}\n\n{BROKEN}", **modules}


TESTS = str(PROJECT["tests/test_calc.py"])
FAILS = "test_double fails"
SEVERAL = PYTEST.replace("-p no:xdist", "-n 2")
PLUGIN = """
import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""
EVERY_MANAGER = """
import gc

from _pytest.config import PytestPluginManager

MANAGERS = [one for one in gc.get_objects() if isinstance(one, PytestPluginManager)]
"""
FIRST = "import calc\n\n\ndef test_first():\n    assert calc.half(4) == 2\n"  # tests/test_a.py

# As they have always been tried.
CLASSIC = (
    Cheat(name="conftest exits", files={"conftest.py": "import os\n\nos._exit(0)\n"}, says=FAILS),
    Cheat(
        name="conftest changes the exit status",
        files={"conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"},
        says=FAILS,
    ),
    Cheat(
        name="conftest skips all",
        files={
            "tests/conftest.py": "import pytest\n\n\ndef pytest_collection_modifyitems(items):\n"
            "    for item in items:\n        item.add_marker(pytest.mark.skip)\n"
        },
        says=FAILS,
    ),
    Cheat(
        name="configuration collects only, and lints nothing",
        files={
            "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--co"\n'
            '[tool.ruff]\nexclude = ["*"]\n'
        },
        says=FAILS,
    ),
    Cheat(
        name="shadow pytest.py",
        files={"pytest.py": "raise SystemExit(0)\n"},
        says="pytest.py would take the place",
        short=True,
    ),
    Cheat(name="a module exits", files=runs("import os\n\nos._exit(0)"), says="could-not-run"),
    Cheat(
        name="a module exits at the end",
        files=runs("import atexit\nimport os\n\natexit.register(os._exit, 0)"),
        says="could-not-run",
    ),
)

# Tests that exist, made harmless.
TAMED = (
    Cheat(
        name="delete tests",
        files={"tests/test_calc.py": None},
        says="fails now",
    ),
    Cheat(
        name="rename tests",
        files={"tests/test_calc.py": None, "tests/calc_tests.py": TESTS},
        says="fails now",
    ),
    Cheat(
        name="weaken an assertion",
        files={"tests/test_calc.py": TESTS.replace("double(2) == 4", "double(2)")},
        says="fails now",
    ),
    Cheat(
        name="a file of tests is none",
        files={"tests/test_calc.py": "__test__ = False\n" + TESTS},
        says="fails now",
    ),
    Cheat(
        name="skip tests",
        files={
            "tests/test_calc.py": TESTS.replace(
                "def test_double()", '@pytest.mark.skip(reason="x")\ndef test_double()'
            )
        },
        says="fails now",
    ),
    Cheat(
        name="expect failure",
        files={
            "tests/test_calc.py": TESTS.replace(
                "from support", "pytestmark = pytest.mark.xfail\nfrom support"
            )
        },
        says="fails now",
    ),
    Cheat(
        name="no parameters",
        files={"tests/test_calc.py": TESTS.replace("[1, 3]", "[]")},
        says="fails now",
    ),
    Cheat(
        name="a helper asserts nothing",
        files={
            "tests/support.py": "def same(a, b):\n    pass\n",
            "calc.py": GOOD.replace("2 * x", "2 * x + (x == 3)"),
        },
        says="fails now",
        short=True,
    ),
    Cheat(
        name="expected data as it comes out",
        files={
            "tests/expected.txt": "3\n",
            "calc.py": "import sys\n\n"
            + GOOD.replace("2 * x", "2 * x - ('golden' in sys._getframe(1).f_code.co_name)"),
        },
        says="fails now",
    ),
    Cheat(
        name="expected data that makes itself",
        files={
            "calc.py": "import sys\nfrom pathlib import Path\n\n"
            'Path("tests/expected.txt").write_text("3")\n\n'
            + GOOD.replace("2 * x", "2 * x - ('golden' in sys._getframe(1).f_code.co_name)"),
        },
        says="tests/expected.txt was changed",
    ),
    Cheat(
        name="weaken tests that only the configuration knows",
        files={
            "check_more.py": "def test_more():\n    pass\n",
            "calc.py": GOOD.replace("2 * x", "2 * x + (x == 10)"),
        },
        says="fails now",
    ),
    Cheat(
        name="a virtual environment around the tests",
        files={"tests/pyvenv.cfg": "home = /\n"},
        says=FAILS,
    ),
    Cheat(name="a folder's own pytest.ini", files={"tests/pytest.ini": "[pytest]\n"}, says=FAILS),
    Cheat(
        name="other tests of the same names",
        files={
            "tests/test_calc.py": "import unittest\n\n\nclass Case(unittest.TestCase):\n"
            "    def test_case(self):\n        pass\n\n\n"
            "def test_double():\n    pass\n"
        },
        says="fails now",
    ),
)

# What comes to judge: plugins, hooks, pytest itself.
JUDGES = (
    Cheat(
        name="a test module brings a plugin",
        files={
            "tests/test_b.py": 'pytest_plugins = ["nice"]\n\n\ndef test_b():\n    pass\n',
            "nice.py": PLUGIN,
        },
        says="nice.py is a pytest plugin",
        short=True,
    ),
    Cheat(
        name="a module registers a plugin",
        files=runs(EVERY_MANAGER + "import nice\nMANAGERS[0].register(nice)\n", nice=PLUGIN),
        says="nice.py is a pytest plugin",
    ),
    Cheat(
        name="an entry point in the tree",
        files={
            "nice.egg-info/entry_points.txt": "[pytest11]\nnice = nice\n",
            "nice.egg-info/PKG-INFO": "Name: nice\nVersion: 1\n",
            "nice.py": PLUGIN,
        },
        says=FAILS,
    ),
    Cheat(
        name="tests that do not run",
        files=runs("import _pytest.python\n\n_pytest.python.Function.runtest = lambda self: None"),
        says="changes _pytest.python.Function.runtest",
        short=True,
    ),
    Cheat(
        name="only its own tests do not run",
        files=runs(
            "import _pytest.python\n\nran = _pytest.python.Function.runtest\n\n\n"
            "def runtest(self):\n"
            "    if 'fleet' in self.nodeid:\n        ran(self)\n\n\n"
            "_pytest.python.Function.runtest = runtest"
        ),
        says="changes _pytest.python.Function.runtest",
    ),
    Cheat(
        name="tests that do not run, in several processes",
        files=runs("import _pytest.python\n\n_pytest.python.Function.runtest = lambda self: None"),
        says="changes _pytest.python.Function.runtest",
        commands=(SEVERAL,),
    ),
    Cheat(
        name="reports are always of a pass",
        files=runs(
            "from _pytest.reports import TestReport\n\n"
            "TestReport.outcome = property(lambda self: 'passed', lambda self, value: None)"
        ),
        says="changes _pytest.reports.TestReport.outcome",
    ),
    Cheat(
        name="a patch that takes itself back",
        files={
            "calc.py": "import _pytest.runner as runner\n\nmade = runner.TestReport\n"
            "real = made.__dict__['from_item_and_call']\n\n\n"
            "@classmethod\ndef forged(cls, item, call):\n"
            "    made.from_item_and_call = real\n"
            "    report = real.__func__(cls, item, call)\n"
            "    report.outcome, report.longrepr = 'passed', None\n"
            "    return report\n\n\n"
            "def double(x):\n    made.from_item_and_call = forged\n    return 0\n\n\n"
            "def half(x):\n    return x // 2\n"
        },
        says="changes _pytest.reports.TestReport.from_item_and_call",
    ),
    Cheat(
        name="new code for an old function",
        files=runs(
            "from _pytest.python import Function\n\n\ndef nothing(self):\n    pass\n\n\n"
            "Function.runtest.__code__ = nothing.__code__"
        ),
        says="changes _pytest.python.Function.runtest",
    ),
    Cheat(
        name="a name that hides a builtin",
        files=runs("import _pytest.runner\n\n_pytest.runner.isinstance = lambda *_: False"),
        says="changes _pytest.runner.isinstance",
    ),
    Cheat(
        name="assertions of unittest",
        files=runs(
            "import unittest\n\nunittest.TestCase.assertEqual = lambda *_: None\n"
            "unittest.TestCase._callTestMethod = lambda *_: None"
        ),
        says="changes unittest.case.TestCase",
    ),
    Cheat(
        name="failures count as skipped",
        files=runs("from _pytest.outcomes import skip\n\nskip.Exception = AssertionError"),
        says="could-not-run",
    ),
    Cheat(
        name="no hook runs a test",
        files=runs(
            EVERY_MANAGER
            + "for one in MANAGERS:\n    one.hook.pytest_pyfunc_call._hookimpls.clear()"
        ),
        says="must fail is reported as passed",
        short=True,
    ),
    Cheat(
        name="other tests than were collected",
        files={
            "tests/test_a.py": FIRST,
            "calc.py": "import gc\n\nfrom _pytest.python import Function\n\n"
            + BROKEN.replace(
                "    return x // 2",
                "    for one in gc.get_objects():\n"
                "        if isinstance(one, Function) and 'double' in one.name:\n"
                "            one.runtest = lambda: None\n"
                "    return x // 2",
            ),
        },
        says="something replaced",
    ),
    Cheat(
        name="other code in tests that were collected",
        files={
            "tests/test_a.py": FIRST,
            "calc.py": "import sys\n\n"
            + BROKEN.replace(
                "    return x // 2",
                "    tests = sys.modules.get('test_calc')\n"
                "    if tests:\n"
                "        tests.test_double.__code__ = (lambda: None).__code__\n"
                "    return x // 2",
            ).replace("(x < 5)", "(sys._getframe(1).f_code.co_name == 'test_double')"),
        },
        says="something replaced tests/test_calc.py::test_double",
        short=True,
    ),
    Cheat(
        name="tests are taken out of the session",
        files={
            "tests/test_a.py": FIRST,
            "calc.py": "import gc\n\nfrom _pytest.main import Session\n\n"
            + BROKEN.replace(
                "    return x // 2",
                "    for one in gc.get_objects():\n"
                "        if isinstance(one, Session):\n            del one.items[1:]\n"
                "    return x // 2",
            ),
        },
        says="never ran",
    ),
    Cheat(
        name="an import hook serves other tests",
        files={
            "tests/test_a.py": FIRST,
            "calc.py": "import importlib.util\nimport sys\n\n\nclass Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'test_calc' or name == 'check_more':\n"
            "            return importlib.util.spec_from_loader(\n"
            "                name, self, origin=f'tests/{name}.py')\n\n"
            "    def create_module(self, spec):\n        return None\n\n"
            "    def exec_module(self, module):\n"
            "        module.__file__ = f'{sys.path[0]}/{module.__name__}.py'\n"
            "        for name in ('half', 'double', 'golden', 'more'):\n"
            "            setattr(module, f'test_{name}', lambda: None)\n\n\n"
            "sys.meta_path.insert(0, Finder())\n\n\n" + BROKEN,
        },
        says="decides what is imported",
    ),
    Cheat(
        name="a tracer jumps over assertions",
        files=runs(
            "import sys\n\n\ndef trace(frame, event, arg):\n"
            "    if frame.f_code.co_name.startswith('test_double'):\n"
            "        if event == 'line':\n"
            "            frame.f_lineno = frame.f_lineno\n"
            "        return trace\n\n\n"
            "sys.settrace(trace)"
        ),
        says="traces its own tests",
    ),
    Cheat(
        name="a report of its own",
        files=runs(
            "import json\nimport os\nimport sys\n\nframe, spec = sys._getframe(), None\n"
            "while frame and not isinstance(spec, dict):\n"
            "    spec, frame = frame.f_locals.get('spec'), frame.f_back\n"
            "lines = [{'is': 'test', 'id': 'tests/test_calc.py::test_double', "
            "'outcome': 'passed'},\n"
            "    {'is': 'end', 'nonce': str(spec['nonce']), 'status': 0, 'finished': True}]\n"
            "with open(spec['report'], 'a') as report:\n"
            "    report.writelines(json.dumps(line) + '\\n' for line in lines)\n"
            "os._exit(0)"
        ),
        says="could-not-run",
    ),
    Cheat(
        name="pytest is asked to stop",
        files=runs("import pytest\n\npytest.exit('done', 0)"),
        says="test_calc.py fails",
    ),
)

# Files that change under way, or take another's place.
FILES = (
    Cheat(
        name="rewrite tests before they are read",
        files={
            "tests/test_a.py": FIRST,
            "calc.py": "from pathlib import Path\n\n"
            "for test in ('tests/test_calc.py', 'check_more.py'):\n"
            "    old = Path(test).read_text()\n"
            "    Path(test).write_text(old.replace('double(', 'str(').replace('==', '!='))\n\n\n"
            + BROKEN,
            "check_more.py": None,
        },
        says="was changed, planted or deleted while the check ran",
    ),
    Cheat(
        name="rewrite tests, and put them back with their times",
        files={
            "tests/test_a.py": FIRST,
            "calc.py": "import atexit\nimport os\nfrom pathlib import Path\n\n"
            "test = Path('tests/test_calc.py')\nold, times = test.read_text(), test.stat()\n"
            "new = old\n"
            "for right, wrong in (('double(2) == 4', 'double(2)'), ('same(', 'str('),\n"
            "    ('== int(expected)', ''), ('assertEqual(double(5), 10)', 'id()')):\n"
            "    new = new.replace(right, wrong)\n"
            "if old != new:\n"
            "    test.write_text(new)\n\n\n"
            "def back():\n    test.write_text(old)\n"
            "    os.utime(test, ns=(times.st_atime_ns, times.st_mtime_ns))\n\n\n"
            "atexit.register(back)\n\n\n" + GOOD.replace("2 * x", "2 * x + (x < 10)"),
        },
        says="was changed, planted or deleted while the check ran",
        short=True,
    ),
    Cheat(
        name="somebody in the background plants a conftest.py",
        files=runs(
            "import subprocess\nimport sys\n\n"
            "subprocess.run([sys.executable, '-c', "
            '\'open("tests/conftest.py", "w").write("collect_ignore = []")\'])'
        ),
        says=FAILS,
    ),
    Cheat(
        name="sitecustomize",
        files={"sitecustomize.py": "import os\n\nos._exit(0)\n"},
        says=FAILS,
    ),
    Cheat(
        name="sitecustomize, in several processes",
        files={
            "sitecustomize.py": "import _pytest.python\n\n"
            "_pytest.python.Function.runtest = lambda self: None\n"
        },
        says=FAILS,
        commands=(SEVERAL,),
    ),
    Cheat(
        name="bytecode that says something else",
        files={
            "__pycache__/calc.cpython-311.pyc": b"\xa7\r\r\n" + b"\0" * 12,
            "old.pyc": b"\xa7\r\r\n" + b"\0" * 12,
        },
        says=FAILS,
    ),
    Cheat(
        name="a module of the standard library in src",
        files={"src/difflib.py": "def unified_diff(*_):\n    return []\n"},
        says="src/difflib.py would take the place",
        short=True,
    ),
    Cheat(
        name="a tool beside the tests",
        files={"tests/mypy/__init__.py": "raise SystemExit(0)\n"},
        says="would take the place",
    ),
    Cheat(
        name="a package before a helper of tests",
        files={
            "tests/support/__init__.py": "def same(a, b):\n    pass\n",
            "calc.py": GOOD.replace("2 * x", "2 * x + (x == 3)"),
        },
        says="tests/support/__init__.py would take the place",
    ),
    Cheat(
        name="a package instead of a helper of tests",
        files={
            "tests/support.py": None,
            "tests/support/__init__.py": "def same(a, b):\n    pass\n",
            "calc.py": GOOD.replace("2 * x", "2 * x + (x == 3)"),
        },
        says="fails now",
    ),
    Cheat(
        name="a helper of the same name is imported first",
        files={
            "support.py": "def same(a, b):\n    pass\n",
            "test_a.py": "import support\n\n\ndef test_a():\n    assert support\n",
            "calc.py": GOOD.replace("2 * x", "2 * x + (x == 3)"),
        },
        says="support.py would take the place",
    ),
    Cheat(
        name="what is tested is another module",
        files={"tests/calc.py": GOOD},
        says="tests/calc.py would take the place",
    ),
    Cheat(
        name="new tests mend what others test",
        files={
            "test_a.py": "import calc\n\n\ndef double(x):\n    return 2 * x\n\n\n"
            "calc.double = double\n\n\ndef test_a():\n    assert calc.double(1) == 2\n"
        },
        says="tests have replaced calc.double",
        short=True,
    ),
    Cheat(
        name="new tests tame the helpers of others",
        files={
            "tests/test_z.py": "import test_calc\n\n"
            "test_calc.same = lambda *_: None\n\n\ndef test_z():\n    pass\n",
            "calc.py": GOOD.replace("2 * x", "2 * x + (x == 3)"),
        },
        says="changes test_calc.same",
    ),
    Cheat(
        name="the guard is gagged",
        files=runs(
            "import fleet_pytest_guard as guard\nimport _pytest.python\n\n"
            "guard.Guard._notice = lambda *_: None\n"
            "_pytest.python.Function.runtest = lambda self: None"
        ),
        says="changes what looks after tests",
    ),
    Cheat(
        name="who writes the report is another",
        files=runs(
            "import json\nimport os\n\nwrite, dumps = os.write, json.dumps\n"
            "os.write = lambda fd, data: write(fd, data.replace(b'failed', b'passed'))\n"
            "json.dumps = lambda value, **more: dumps(value, **more).replace('failed', 'passed')"
        ),
        says="fails",
    ),
    Cheat(
        name="another make file goes first",
        files={"GNUmakefile": "check:\n\t@true\n"},
        says="exit code 2",
        commands=("make -s check",),
        short=True,
    ),
    Cheat(
        name="the make file itself",
        files={"Makefile": "check:\n\t@true\n"},
        says="exit code 2",
        commands=("sh -c 'make -s check'",),
    ),
)

UNUSED = GOOD.replace("def double", "import os\n\n\ndef double")

# Checks that are told to be silent.
SILENCED = tuple(
    Cheat(name=name, files=files, says=says, broken=False, short=short, commands=commands)
    for name, files, says, short, commands in (
        ("unused, and nobody minds", {"calc.py": UNUSED.replace("os\n", "os  # noqa\n", 1)},
         "silences checks: calc.py:1 (# noqa)", True, ()),
        ("a whole file", {"calc.py": "# ruff: noqa\n" + UNUSED}, "(# ruff:noqa)", False, ()),
        ("a type", {"calc.py": GOOD + "\n\nz: int = ''  # type: ignore\n"},
         "(# type:ignore)", False, ()),
        ("a file of types", {"calc.py": "# mypy: ignore-errors\n" + GOOD}, "(# mypy:)", False, ()),
        ("coverage", {"calc.py": GOOD + "\n\ndef dark():  # pragma: no cover\n    pass\n"},
         "(# pragma:nocover)", False, ()),
        ("in a file that cannot be read", {"calc.py": "def (:  # noqa\n" + GOOD},
         "(# noqa)", False, ()),
        ("a folder's own ruff.toml", {"pkg/ruff.toml": "exclude = ['*']\n",
         "pkg/m.py": "import os\n"}, "F401", False, (RUFF,)),
        ("a folder's own pyproject.toml",
         {"pkg/pyproject.toml": "[tool.ruff.lint]\nignore = ['F401']\n", "pkg/m.py": "import os\n"},
         "F401", False, (RUFF,)),
        ("gitignored for ruff", {".gitignore": "pkg/\n", "pkg/m.py": "import os\n"},
         "F401", False, (RUFF,)),
    )
)  # fmt: skip

CHEATS = (*CLASSIC, *TAMED, *JUDGES, *FILES, *SILENCED)
