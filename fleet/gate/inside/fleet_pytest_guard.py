"""Notices when the code under test changes what judges it. PYTEST_DONT_REWRITE

A plugin (`-p fleet_pytest_guard`) for the process of the tests and for each of xdist's workers. It
remembers pytest, pluggy, unittest and the builtins before any code of the tree runs, and looks
again when a test has been called, when it is over, and at the end. It also names plugins and hooks
that come from the tree, and adds two tests of its own, one of which must fail.

What it finds are notices with ids that stay the same from run to run: what the base does too is
known, and no reason to refuse. Weakness: it lives where the tests live.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any, Callable, Dict, Generator, List, Optional, Set, Tuple

import fleet_pytest_memory as memory
import pytest

CANARY = "fleet-canary"
MUST_FAIL, MUST_PASS = CANARY + "::must_fail", CANARY + "::must_pass"
Notice = Tuple[str, str]  # an id, and what is to be said
tell: Optional[Callable[[str, str], None]] = None  # set by who runs pytest; not in workers

_JUDGES = (
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_pyfunc_call",
    "pytest_runtest_makereport",
    "pytest_runtest_logreport",
    "pytest_sessionfinish",
)
_TEST_FOLDERS = frozenset({"tests", "test"})
_METHODS = ("runtest", "setup", "teardown", "repr_failure", "ihook")


def must_fail() -> None:
    raise AssertionError("as it must")


def must_pass() -> None:
    pass


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Guard(config), "fleet-guard")


class Guard:
    def __init__(self, config: pytest.Config) -> None:
        self.notices: Dict[str, str] = {}
        self._config = config
        self._manager = config.pluginmanager
        self._checkout = str(config.rootpath)
        self._tell = tell
        self._before = BEFORE
        self._narrow = self._before.narrow()
        self._codes: Dict[str, Tuple[types.FunctionType, types.CodeType, type]] = {}
        self._tests = memory.Memory([], [])
        self._known: Set[str] = set()  # modules of tests that are remembered
        self._hooks: Dict[str, List[Any]] = {}
        self._finders = list(sys.meta_path)
        self._tracers = (sys.gettrace(), sys.getprofile())
        self._canaries: List[str] = []

    def pytest_plugin_registered(self, plugin: object) -> None:
        for file in sorted(_files(plugin)):
            place = self._within(file)
            if place and os.path.basename(place) != "conftest.py":
                self._notice(
                    "plugin:" + place,
                    place + " is a pytest plugin of the tree, and no conftest.py: it may change "
                    "what tests say. Fixtures and hooks belong into conftest.py",
                )

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, Any, None]:
        self._finders = list(sys.meta_path)
        self._tracers = (sys.gettrace(), sys.getprofile())
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: List[pytest.Item]
    ) -> Generator[None, Any, None]:
        yield
        if items:
            items.extend(_canaries(session))
            self._canaries = [item.nodeid for item in items if item.nodeid.startswith(CANARY)]

    def pytest_collectreport(self) -> None:
        """A file was imported: from now on it stays as it is."""
        new = [name for name in list(sys.modules) if name not in self._known]
        self._known.update(new)
        modules = [sys.modules[name] for name in new]
        self._tests.add(memory.remember_of([one for one in modules if self._is_of_tests(one)]))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            function = getattr(item, "function", None)
            if isinstance(function, types.FunctionType):
                self._codes[item.nodeid] = (function, function.__code__, type(item))
        self._hooks = {name: self._hooked(name) for name in _JUDGES}
        self._look(self._narrow)
        self._same_product()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, None]:
        yield
        self._same_code(item)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, None]:
        # A patch may take itself back once it has lied: look while the test has just returned.
        if call.when == "call":
            self._look(self._narrow)
            self._same_code(item)
            self._same_tracers()
        outcome = yield
        if outcome.excinfo is not None:
            return
        report = outcome.get_result()
        if item.nodeid.startswith(CANARY):
            self._judge_canary(report)
        elif report.outcome == "passed" and call.excinfo is not None:
            self._notice(
                "judged otherwise:" + item.nodeid,
                "%s ended with %s and was reported as passed"
                % (item.nodeid, call.excinfo.typename),
            )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._look(self._before)
        self._look(self._tests)
        self._same_product()
        self._same_hooks()
        self._same_finders()
        worker = getattr(self._config, "workeroutput", None)
        if worker is not None:
            worker["fleet_guard"] = list(self.notices.items())
        elif self._canaries and not getattr(session, "shouldstop", False):
            self._notice("canary:gone", "tests that fleet added never ran: something left them out")

    def _judge_canary(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._canaries and report.when == "call":
            self._canaries.remove(report.nodeid)
        fails = report.nodeid == MUST_FAIL and report.when == "call"
        if (report.outcome == "failed") != fails:
            self._notice(
                "canary:" + report.nodeid.rpartition(":")[2] + ":" + str(report.when),
                "a test of fleet's that must %s is reported as %s (%s): what tests say here is "
                "not to be believed" % ("fail" if fails else "pass", report.outcome, report.when),
            )
        report.outcome, report.longrepr = "passed", None  # it is nobody else's failure

    def _look(self, entries: Any) -> None:
        for name in entries.changed():
            self._notice("changed:" + name, "the code under test changes " + name)

    def _same_code(self, item: pytest.Item) -> None:
        """Whether a test is what was collected. Plugins may wrap it."""
        function, code, kind = self._codes.get(item.nodeid, (None, None, type(item)))
        now = getattr(getattr(item, "_obj", None), "__func__", getattr(item, "_obj", None))
        swapped = now is not None and function is not None and now is not function
        methods = [vars(item)[name] for name in _METHODS if name in vars(item)]
        if (
            type(item) is not kind
            or (function is not None and function.__code__ is not code)
            or (swapped and self._ours(now))
            or any(map(self._ours, methods))
        ):
            self._notice("replaced:" + item.nodeid, "something replaced %s" % item.nodeid)

    def _same_product(self) -> None:
        """Whether what is tested holds something that its tests have put there."""
        for module in list(sys.modules.values()):
            place = self._within(getattr(module, "__file__", None) or "")
            if not place or self._is_of_tests(module):
                continue
            for name, value in list(vars(module).items()):
                if isinstance(value, types.FunctionType) and self._is_test(_file(value)):
                    where = "%s.%s" % (module.__name__, name)
                    self._notice("patched:" + where, "tests have replaced " + where)

    def _same_tracers(self) -> None:
        now = (sys.gettrace(), sys.getprofile())
        for tracer in now:
            if tracer is not None and tracer not in self._tracers and self._ours(tracer):
                self._notice("tracing", "the code under test traces its own tests")

    def _same_finders(self) -> None:
        for finder in sys.meta_path:
            if type(finder).__name__ == "AssertionRewritingHook":
                break
            kind = finder if isinstance(finder, type) else type(finder)
            known = any(finder is other for other in self._finders)
            if not known and self._ours(kind):
                self._notice(
                    "import hook:" + kind.__qualname__,
                    "%s of the tree decides what is imported" % kind.__qualname__,
                )

    def _hooked(self, name: str) -> List[Any]:
        caller = getattr(self._manager.hook, name, None)
        return [impl.function for impl in caller.get_hookimpls()] if caller else []

    def _same_hooks(self) -> None:
        for name, then in self._hooks.items():
            now = self._hooked(name)
            gone = any(not any(one is other or one == other for other in now) for one in then)
            if gone or any(self._ours(one) for one in now if one not in then):
                self._notice("hook:" + name, "the code under test changes the hook " + name)

    def _ours(self, thing: object) -> bool:
        """Whether it comes from the tree, or from nowhere."""
        file = _file(thing)
        place = self._within(file)
        return bool(place) or not os.path.isfile(file)

    def _is_of_tests(self, module: object) -> bool:
        return self._is_test(getattr(module, "__file__", None) or "")

    def _is_test(self, file: str) -> bool:
        place = self._within(file)
        folders, _, name = place.rpartition(os.sep)
        named = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
        return bool(place) and (named or not _TEST_FOLDERS.isdisjoint(folders.split(os.sep)))

    def _within(self, file: str) -> str:
        try:
            place = os.path.relpath(file, self._checkout)
        except ValueError:
            return ""
        installed = (os.sep + "site-packages" + os.sep) in file
        return "" if place.startswith(os.pardir) or installed else place

    def _notice(self, id_: str, message: str) -> None:
        if id_ not in self.notices:
            self.notices[id_] = message
            if self._tell is not None:
                self._tell(id_, message)


def _files(plugin: object) -> List[str]:
    """Where a plugin and its hooks were written."""
    if isinstance(plugin, types.ModuleType):
        return [getattr(plugin, "__file__", None) or ""]
    hooks = (getattr(type(plugin), name, None) for name in dir(type(plugin)) if "pytest_" in name)
    return sorted({_file(hook) for hook in hooks if hook is not None} - {""})


def _file(thing: object) -> str:
    thing = getattr(thing, "__func__", thing)
    code = getattr(thing, "__code__", None)
    if code is not None:
        return str(code.co_filename)
    kind = thing if isinstance(thing, type) else type(thing)
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def _canaries(session: pytest.Session) -> List[pytest.Item]:
    try:
        from pathlib import Path

        module: Any = pytest.Module.from_parent(session, path=Path(__file__), nodeid=CANARY)
        module.obj = types.ModuleType("fleet_canary")
        return [
            pytest.Function.from_parent(module, name=function.__name__, callobj=function)
            for function in (must_fail, must_pass)
        ]
    except TypeError:  # a pytest before 7 makes modules otherwise
        return []


BEFORE = memory.remember()  # the last thing this module does: it is remembered too
