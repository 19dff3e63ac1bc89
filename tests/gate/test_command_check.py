from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fleet.core.report import CheckRun
from fleet.gate.checks import Tools, parse
from fleet.gate.runner import run_checks

TOOLS = Tools(python=Path(sys.executable), ruff=None, path="/usr/bin:/bin")


def run(tmp_path: Path, command: str, *, wall_s: float = 60.0) -> CheckRun:
    checkout = tmp_path / "checkout"
    checkout.mkdir(exist_ok=True)
    (one,) = run_checks(
        (parse(command),),
        TOOLS,
        checkout,
        tmp_path / "scratch",
        mark=f"test-{os.getpid()}-{tmp_path.name}",
        wall_s=wall_s,
        should_stop=lambda: None,
    )
    return one


def script(tmp_path: Path, text: str, mode: int = 0o755) -> None:
    path = tmp_path / "checkout" / "check"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)


def test_exit_code_zero_passes(tmp_path: Path) -> None:
    result = run(tmp_path, "true")
    assert result.complete
    assert result.passed


def test_another_exit_code_fails_with_the_end_of_the_output(tmp_path: Path) -> None:
    result = run(tmp_path, "sh -c 'seq 100; printf \"\\033[31mbad\\033[0m\\n\" >&2; exit 3'")
    assert result.complete
    assert not result.passed
    (finding,) = result.findings
    lines = finding.message.splitlines()
    assert lines[0] == "exit code 3"
    assert lines[-2:] == ["100", "bad"]
    assert len(lines) == 41


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("no-such-program --check", "no program 'no-such-program'"),
        ("sh -c no-such-program", "exit code 127"),
        ("sh -c 'kill -9 $$'", "SIGKILL"),
        ("./not-there", "not-there"),
    ],
)
def test_what_cannot_run_is_incomplete(tmp_path: Path, command: str, note: str) -> None:
    result = run(tmp_path, command)
    assert not result.complete
    assert not result.passed
    assert note in result.note


def test_a_command_that_hangs_is_incomplete(tmp_path: Path) -> None:
    result = run(tmp_path, "sleep 60", wall_s=0.3)
    assert not result.complete
    assert "longer than" in result.note


def test_a_program_named_by_its_path_is_the_checkouts(tmp_path: Path) -> None:
    script(tmp_path, "test -f check")
    assert run(tmp_path, "./check").passed


def test_a_program_named_without_a_path_is_never_the_checkouts(tmp_path: Path) -> None:
    script(tmp_path, "exit 0")
    assert not run(tmp_path, "check").complete


def test_a_script_that_is_not_executable_is_incomplete(tmp_path: Path) -> None:
    script(tmp_path, "exit 0", mode=0o644)
    assert not run(tmp_path, "./check").complete
