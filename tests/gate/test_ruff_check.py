from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.report import CheckRun
from fleet.gate.checks import Tools, parse
from fleet.gate.runner import run_checks

BESIDE = Path(sys.executable).with_name("ruff")
RUFF = str(BESIDE) if BESIDE.is_file() else shutil.which("ruff")
TOOLS = Tools(python=Path(sys.executable), ruff=Path(RUFF) if RUFF else None, path="/bin")
BAD = "import os\nx = undefined_name\n"


def run(
    tmp_path: Path,
    files: dict[str, str],
    command: str = "ruff check --select F",
    tools: Tools = TOOLS,
) -> CheckRun:
    checkout = tmp_path / "checkout"
    for name, text in files.items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (one,) = run_checks(
        (parse(command),),
        tools,
        checkout,
        tmp_path / "scratch",
        mark=f"test-{os.getpid()}-{tmp_path.name}",
        wall_s=60,
        should_stop=lambda: None,
    )
    assert {str(p.relative_to(checkout)): p.read_text() for p in checkout.rglob("*.*")} == files
    return one


def test_findings_have_a_rule_a_place_and_words(tmp_path: Path) -> None:
    result = run(tmp_path, {"src/mod.py": BAD, "ok.py": "x = 1\n"})
    assert result.complete
    assert not result.passed
    assert [(f.id, f.path, f.line) for f in result.findings] == [
        ("F401", "src/mod.py", 1),
        ("F821", "src/mod.py", 2),
    ]
    assert "undefined_name" in result.findings[1].message


def test_a_clean_tree_passes(tmp_path: Path) -> None:
    result = run(tmp_path, {"ok.py": "x = 1\n"})
    assert result.complete, result.note
    assert result.passed


def test_a_syntax_error_is_a_finding(tmp_path: Path) -> None:
    result = run(tmp_path, {"bad.py": "def (:\n"})
    assert result.complete
    assert result.findings


def test_a_tree_without_python_passes(tmp_path: Path) -> None:
    result = run(tmp_path, {"readme.md": "hello\n"})
    assert result.complete, result.note
    assert result.passed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.ruff]\nexclude = ["*"]\n'),
        ("ruff.toml", 'include = ["nothing/*"]\n'),
    ],
)
def test_a_configuration_that_leaves_everything_out_is_incomplete(
    tmp_path: Path, name: str, text: str
) -> None:
    result = run(tmp_path, {"mod.py": BAD, name: text})
    assert not result.complete
    assert "leaves out every Python file" in result.note


def test_ignore_files_hide_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, {"mod.py": BAD, ".ignore": "*.py\n", ".gitignore": "*.py\n"})
    assert len(result.findings) == 2


def test_the_repositorys_configuration_counts_but_nothing_is_fixed(tmp_path: Path) -> None:
    text = 'fix-only = true\noutput-format = "github"\n[lint]\nselect = ["F401"]\n'
    result = run(tmp_path, {"mod.py": BAD, "ruff.toml": text}, "ruff")
    assert [finding.id for finding in result.findings] == ["F401"]


def test_arguments_are_kept_but_for_those_that_change_the_report(tmp_path: Path) -> None:
    command = "ruff check --fix --output-format concise --select=F821 --output-format=full src"
    result = run(tmp_path, {"src/mod.py": BAD, "other.py": BAD}, command)
    assert [(f.id, f.path) for f in result.findings] == [("F821", "src/mod.py")], result.note


def test_a_configuration_ruff_refuses_is_incomplete(tmp_path: Path) -> None:
    result = run(tmp_path, {"mod.py": BAD, "ruff.toml": "no-such-key = 1\n"})
    assert not result.complete
    assert "exit code 2" in result.note


def test_no_ruff_at_all_is_incomplete(tmp_path: Path) -> None:
    result = run(tmp_path, {"mod.py": BAD}, tools=replace(TOOLS, ruff=None))
    assert not result.complete
    assert "not installed" in result.note
