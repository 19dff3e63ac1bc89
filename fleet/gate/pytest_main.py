"""Runs pytest in the interpreter of the repository under test, and reports every test by id.

Started as `python -I pytest_main.py SPEC`. That interpreter may be as old as Python 3.8 and
knows nothing of us: the standard library and its own pytest only. `-I` and the early import keep
the tree under test from lending its own `pytest.py`.

The report is one JSON object a line, by key "is": `running`, `test`, `collection`, `selected`,
`interrupted`, and a last `end` with the nonce, written after pytest has returned. Whoever ends
the process early, in whatever way, leaves a report without an end. `notice` lines are what
`inside/fleet_pytest_guard.py` has seen. Weakness: tests run in this process, so code that sets out
to forge the report, and goes about it well, can.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import sys
import traceback
from typing import Any, Callable, Dict, Generator, List, Optional, Sequence, Set, Tuple

GUARD = "fleet_pytest_guard"
CANARY = "fleet-canary"  # the guard's own tests are nobody's
NONCE_BYTES = 32

try:
    import pytest

    hookimpl: Callable[..., Callable[..., Any]] = pytest.hookimpl
    INSTALLED = True
except ImportError as error:
    if error.name != "pytest":
        raise
    INSTALLED = False

    def hookimpl(**_: bool) -> Callable[..., Any]:
        return lambda function: function


AnyReport = Any  # pytest.CollectReport or pytest.TestReport; their bases differ by version
MESSAGE_CHARS = 2000
NO_PYTEST = 3


class Report:
    """The way to whom we report. Lines go out at once: a crash loses none, and none comes back."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY)
        os.unlink(path)
        self._pid = os.getpid()
        # Held here: by their names, the tree could put others in their places.
        self._whose, self._put, self._encode = os.getpid, os.write, json.JSONEncoder().encode

    def write(self, kind: str, **values: object) -> None:
        # A test may fork, and its child may come back through pytest: only we report.
        if self._whose() == self._pid:
            values["is"] = kind
            line = self._encode(values).encode() + b"\n"
            while line:
                line = line[self._put(self._fd, line) :]


class Reporter:
    """The plugin. With xdist it lives in the controller only, where all reports arrive."""

    def __init__(self, report: Report, checkout: str, only: List[str]) -> None:
        self.session_finished = False
        self._report = report
        self._checkout = checkout
        self._only = only
        self._tests: Dict[str, Dict[str, object]] = {}
        self._unwritten: Set[str] = set()
        self._selected: Set[str] = set()
        self._deselected = 0

    @hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self) -> Generator[None, Any, None]:
        outcome = yield
        error = outcome.excinfo[1] if outcome.excinfo else None
        if error is not None and type(error).__name__ == "ConftestImportFailure":
            path = os.path.relpath(str(error.path), self._checkout)
            cause = getattr(error, "cause", None) or error
            text = "".join(traceback.format_exception_only(type(cause), cause))
            self._collection(path, "failed", text, path, 0)

    @hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        if not self._only:
            return
        # In place of what the configuration and the command name; xdist's workers start anew
        # from the invocation's arguments.
        named = set(getattr(config.option, "file_or_dir", None) or ())
        config.args[:] = self._only
        was = config.invocation_params
        args = [arg for arg in was.args if str(arg) not in named] + self._only
        config.invocation_params = type(was)(args=tuple(args), plugins=was.plugins, dir=was.dir)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome in ("failed", "skipped"):
            text = _why_skipped(report) if report.outcome == "skipped" else str(report.longrepr)
            path, line = self._place(report)
            self._collection(report.nodeid or path, report.outcome, text, path, line)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._deselected += len(items)

    @hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._selected.update(item.nodeid for item in session.items if not _is_canary(item.nodeid))

    @hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        self._selected.update(id_ for id_ in ids if not _is_canary(id_))

    @hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What the guard has seen in a worker of xdist's. A worker that crashed says nothing."""
        output = getattr(node, "workeroutput", None)
        for id_, message in (output or {}).get("fleet_guard", ()):
            self.notice(id_, message)
        if output and "fleet_guard" not in output:
            self.notice("guard:gone", "a worker ran tests without the plugin that looks after them")

    def notice(self, id_: str, message: str) -> None:
        self._report.write("notice", id=id_, message=message)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if not _is_canary(nodeid):
            self._report.write("running", id=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = None if _is_canary(report.nodeid) else _outcome(report)
        known = self._tests.get(report.nodeid)
        if outcome is None or (known and known["outcome"] == "failed"):
            return
        path, line = self._place(report)
        text = _why_skipped(report) if outcome in ("skipped", "xfailed") else ""
        if outcome == "failed":
            text = _last_of(str(report.longrepr or ""))
        self._tests[report.nodeid] = {
            "outcome": outcome,
            "message": text,
            "path": path,
            "line": line,
        }
        self._unwritten.add(report.nodeid)
        if outcome == "failed":
            self._write(report.nodeid)  # before anything else of its test runs

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if nodeid in self._unwritten:
            self._write(nodeid)

    def _write(self, nodeid: str) -> None:
        self._unwritten.discard(nodeid)
        self._report.write("test", id=nodeid, **self._tests[nodeid])

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._report.write("interrupted", why=_last_of(str(excinfo.value) or excinfo.typename))

    def pytest_internalerror(self, excrepr: object) -> None:
        self._report.write("interrupted", why="internal error: " + _last_of(str(excrepr)))

    @hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        for nodeid in sorted(self._unwritten):
            self._write(nodeid)
        never = sorted(self._selected.difference(self._tests))
        self._report.write(
            "selected", deselected=self._deselected, never=len(never), first=never[:1]
        )
        self.session_finished = True

    def _collection(self, nodeid: str, outcome: str, text: str, path: str, line: int) -> None:
        text = _last_of(text)
        self._report.write(
            "collection", id=nodeid, outcome=outcome, message=text, path=path, line=line
        )

    def _place(self, report: AnyReport) -> Tuple[str, int]:
        """The file in the checkout, and the line, that a reader should look at first."""
        crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
        if crash is not None:
            path = os.path.relpath(os.path.join(self._checkout, crash.path), self._checkout)
            if not path.startswith(os.pardir):
                return path, crash.lineno
        path, line = (getattr(report, "location", None) or (report.nodeid.split("::")[0], None))[:2]
        return str(path), 0 if line is None else line + 1  # it counts from 0


def _is_canary(nodeid: str) -> bool:
    return nodeid.startswith(CANARY)


def _outcome(report: pytest.TestReport) -> Optional[str]:
    """What one phase says of its test; None when it says nothing."""
    if report.outcome == "failed":
        return "failed"
    if report.outcome == "skipped":
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    if report.outcome == "passed" and report.when == "call":
        return "xpassed" if hasattr(report, "wasxfail") else "passed"
    return None  # set-up or tear-down went well, or a plugin will run it again


def _why_skipped(report: AnyReport) -> str:
    reason = getattr(report, "wasxfail", None)
    if reason is None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    return _last_of(str(reason or ""))


def _last_of(text: str) -> str:
    return text.strip()[-MESSAGE_CHARS:]


def _use(checkout: str, top: str) -> None:
    """Let modules come from the tree under test, for us and for the children of its tests."""
    first = [path for path in (os.path.join(checkout, "src"), checkout) if os.path.isdir(path)]
    rest = []
    for entry in sys.path:
        if not _within(entry, top) or _within(entry, sys.prefix):
            rest.append(entry)
            continue
        # An editable install of the user's own checkout: the same folder, but of this tree.
        mapped = os.path.join(checkout, os.path.relpath(entry, top))
        if os.path.isdir(mapped) and mapped not in first:
            first.append(mapped)
    sys.path[:] = first + rest
    os.environ["PYTHONPATH"] = os.pathsep.join(first)


def _within(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(folder.rstrip("/") + "/"))


def _seal(guard: Any) -> List[object]:
    """What the guard and its memory are made of; it cannot speak of itself when it was gagged."""
    found: List[object] = []
    for module in (guard, guard.memory):
        for thing in (module, *(one for one in vars(module).values() if isinstance(one, type))):
            for name, value in vars(thing).items():
                code = getattr(value, "__code__", None)
                if code is not None:
                    found.extend((name, id(value), id(code)))
    return found


def main(spec: Dict[str, Any]) -> int:
    report = Report(spec["report"])
    if not INSTALLED:
        report.write("interrupted", why="pytest is not installed for " + sys.executable)
        return NO_PYTEST
    sys.dont_write_bytecode = True
    _use(spec["checkout"], spec["top"])
    reporter = Reporter(report, spec["checkout"], spec["only"])
    # Before all else, and first on the path: xdist's workers find it there, and start the same.
    sys.path.insert(0, spec["inside"])
    guard: Any = importlib.import_module(GUARD)
    guard.tell = reporter.notice
    sealed = _seal(guard)
    try:
        status = int(pytest.main(["-p", GUARD, *spec["args"]], plugins=[reporter]))
    except BaseException as error:
        report.write("interrupted", why=repr(error))
        raise
    if _seal(guard) != sealed:
        report.write(
            "notice", id="changed:guard", message="the tree changes what looks after tests"
        )
    finished = reporter.session_finished
    atexit._run_exitfuncs()  # theirs: nothing may follow the end
    nonce = os.read(spec["nonce"], NONCE_BYTES).decode()
    report.write("end", nonce=nonce, status=status, finished=finished)
    return status


def _read_spec() -> Dict[str, Any]:
    """What to do, from a file that tests shall not find: it has the nonce.

    Which waits in a pipe meanwhile: in no frame, and in no object of this process.
    """
    path = sys.argv.pop()
    sys.argv[:] = ["pytest"]
    with open(path, encoding="utf-8") as file:
        spec: Dict[str, Any] = json.load(file)
    os.unlink(path)
    spec["nonce"], write_end = os.pipe()
    with open(write_end, "w") as pipe:
        pipe.write(spec.pop("secret"))
    return spec


if __name__ == "__main__":
    status = main(_read_spec())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
