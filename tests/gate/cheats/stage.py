"""A small project with tests of every kind, and the way of a change through policy and gate."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.config import load
from fleet.core.report import GateReport, Verdict
from fleet.core.task import Task
from fleet.gate.candidate import Candidate, build
from fleet.gate.checks import find_tools
from fleet.gate.cleanroom import Caller, CleanRoom
from fleet.gate.environment import Environments
from fleet.gate.policy import Rules
from fleet.gate.proof import Gate, checks_of
from fleet.gate.shadows import reserved
from fleet.process.bounds import MB, Bounds
from fleet.repo.hub import Hub
from fleet.store.layout import Layout
from fleet.store.reports import Reports
from tests.builders import a_database, a_task

Files = Mapping[str, str | bytes | None]  # None deletes

PYTEST = "pytest -q -p no:hypothesispytest -p no:xdist"
RUFF = "ruff check ."
GOOD = "def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x // 2\n"
BROKEN = GOOD.replace("2 * x", "2 * x + (x < 5)")  # so that a cheat need not tame every test
PROJECT: Files = {
    "calc.py": GOOD,
    "units.py": "RATE = 3\n\n\ndef scaled(x):\n    return x * RATE\n",
    "old.py": "import os  # noqa: F401\n",
    "conftest.py": 'pytest_plugins = ["house_plugin"]\n',
    "house_plugin.py": "import pytest\n\n\n@pytest.fixture\ndef seven():\n    return 7\n",
    "pytest.ini": "[pytest]\npython_files = test_*.py check_*.py\n",
    "ruff.toml": 'lint.select = ["E4", "E9", "F"]\n',
    "Makefile": "check:\n\t@grep -q '2 \\* x$$' calc.py\n",
    "tests/support.py": "def same(a, b):\n    assert a == b\n",
    "tests/expected.txt": "4\n",
    "tests/test_calc.py": (
        "import unittest\nfrom pathlib import Path\n\n"
        "import pytest\nfrom calc import double, half\nfrom support import same\n\n\n"
        "def test_half(seven):\n    assert half(seven) == 3\n\n\n"
        "def test_double():\n    assert double(2) == 4\n\n\n"
        '@pytest.mark.parametrize("x", [1, 3])\n'
        "def test_doubles(x):\n    same(double(x), x + x)\n\n\n"
        "def test_golden():\n"
        '    expected = Path(__file__).with_name("expected.txt").read_text()\n'
        "    assert double(2) == int(expected)\n\n\n"
        "class Case(unittest.TestCase):\n"
        "    def test_case(self):\n        self.assertEqual(double(5), 10)\n"
    ),
    "check_more.py": (
        "from calc import double\n\n\ndef test_more():\n    assert double(10) == 20\n"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of a change, by policy or by its gate."""

    refusal: str
    report: GateReport | None
    candidate: Candidate

    @property
    def lands(self) -> bool:
        return self.report is not None and self.report.verdict is Verdict.PASS

    @property
    def words(self) -> str:
        if self.report is None:
            return self.refusal
        found = "; ".join(str(finding) for finding in self.report.findings)
        return f"{self.report.verdict}: {self.report.note or found}"


class Stage:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "project"
        self.path.mkdir()
        self._git("init", "-q", "-b", "main")
        self.base = self._commit(PROJECT)
        self.layout = Layout(common_dir=folder / "state", top=self.path, cache=folder / "cache")
        self.layout.prepare()
        self.hub = Hub(self.layout.hub)
        self.hub.create(self.path / ".git")
        self.hub.take(self.path / ".git", self.base)
        self.db = a_database(folder)
        self.tools = find_tools(wanted_python="", top=None, search="/usr/bin:/bin")
        self.rules = Rules(
            protected=load(self.path, {}).gate.protected,
            restore=True,
            max_file_bytes=MB,
            installed=reserved(self.tools),
        )
        self.gate = self._gate((PYTEST, RUFF))
        self.caller = Caller(mark=f"cheats/{os.getpid()}", stopped=lambda: None)

    def judge(
        self,
        files: Files,
        task: Task | None = None,
        *,
        on: str = "",
        head: str = "",
        commands: tuple[str, ...] = (),
        bounds: Bounds | None = None,
    ) -> Judged:
        """A change of these files on the base, merged with `on` and proven."""
        gate = self._gate(commands) if commands else self.gate
        if bounds is not None:
            gate = replace(gate, room=replace(gate.room, bounds=bounds))
        candidate = build(
            self.hub,
            task or a_task(),
            base=on or self.base,
            head=head or self.commit(files),
            rules=self.rules,
            checks=gate.checks,
        )
        if not candidate.stands:
            words = candidate.refusal or f"conflicts: {candidate.conflicts}"
            return Judged(refusal=words, report=None, candidate=candidate)
        report = gate.prove([candidate], extra=(), by=self.caller)
        return Judged(refusal="", report=report, candidate=candidate)

    def commit(self, files: Files) -> str:
        """A commit on the base, known to the hub."""
        self._git("checkout", "-q", "--detach", self.base)
        return self.hub.take(self.path / ".git", self._commit(files))

    def _gate(self, commands: tuple[str, ...]) -> Gate:
        room = CleanRoom(
            hub=self.hub, layout=self.layout, tools=self.tools, timeout_s=120.0, slots=2
        )
        return Gate(
            room=room,
            reports=Reports(self.db),
            checks=checks_of(commands),
            environments=Environments(
                hub=self.hub, layout=self.layout, tools=self.tools, setup=(), lock_files=()
            ),
        )

    def _commit(self, files: Files) -> str:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content)
        self._git("add", "-A", "-f")
        self._git("commit", "-q", "-m", "change")
        return self._git("rev-parse", "HEAD")

    def _git(self, *args: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *args],
            cwd=self.path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
