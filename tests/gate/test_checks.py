from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.gate.checks import Check, Kind, Tools, find_tools, identity, is_test_file, parse


@pytest.mark.parametrize(
    ("command", "kind", "argv"),
    [
        ("pytest", Kind.PYTEST, ()),
        ("pytest -n 2 'tests/a b'", Kind.PYTEST, ("-n", "2", "tests/a b")),
        ("python -m pytest -q", Kind.PYTEST, ("-q",)),
        ("python3 -m pytest", Kind.PYTEST, ()),
        ("ruff", Kind.RUFF, ()),
        ("ruff check src", Kind.RUFF, ("src",)),
        ("ruff format --check", Kind.COMMAND, ("ruff", "format", "--check")),
        ("make lint", Kind.COMMAND, ("make", "lint")),
        ("sh -c 'a && b'", Kind.COMMAND, ("sh", "-c", "a && b")),
    ],
)
def test_a_command_becomes_a_check(command: str, kind: Kind, argv: tuple[str, ...]) -> None:
    assert parse(f" {command} ") == Check(name=command, kind=kind, argv=argv)


@pytest.mark.parametrize("command", ["", "  ", "echo 'a", "make a && make b", "make > out"])
def test_a_command_that_makes_no_sense_is_refused_with_a_sentence(command: str) -> None:
    with pytest.raises(ValueError, match=r"gate command|split|no shell"):
        parse(command)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/test_a.py", True),
        ("pkg/a_test.py", True),
        ("conftest.py", True),
        ("pkg/test/support.py", True),
        ("tests/data.json", True),
        ("src/contest.py", False),
        ("src/testing.py", False),
        ("tests.py", False),
    ],
)
def test_test_files_are_told_from_others(path: str, expected: bool) -> None:
    assert is_test_file(path) is expected


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_repositorys_own_venv_is_used_by_the_name_of_its_link(tmp_path: Path) -> None:
    real = program(tmp_path / "opt" / "python3")
    link = tmp_path / "top" / ".venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    (link.parent.parent / "pyvenv.cfg").write_text("")
    ruff = program(link.with_name("ruff"))
    tools = find_tools(wanted_python="", top=tmp_path / "top", search="/bin")
    assert tools == Tools(python=link, ruff=ruff, path=f"{link.parent}:/bin", top=tmp_path / "top")


def test_a_configured_interpreter_wins_and_is_relative_to_the_checkout(tmp_path: Path) -> None:
    program(tmp_path / ".venv" / "bin" / "python")
    wanted = program(tmp_path / "envs" / "py" / "bin" / "python")
    tools = find_tools(wanted_python="envs/py/bin/python", top=tmp_path, search="/bin")
    assert tools.python == wanted
    by_name = find_tools(wanted_python="python", top=tmp_path, search=str(wanted.parent))
    assert by_name.python == wanted


def test_a_configured_interpreter_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for wanted in ("no/python", "no-such-python"):
        with pytest.raises(FleetError, match=wanted):
            find_tools(wanted_python=wanted, top=tmp_path, search="/bin")


def test_without_a_venv_our_own_interpreter_serves(tmp_path: Path) -> None:
    tools = find_tools(wanted_python="", top=tmp_path, search="/bin")
    assert tools.python == Path(sys.executable)


def test_a_relative_entry_of_path_is_never_searched(tmp_path: Path) -> None:
    tools = find_tools(wanted_python="", top=tmp_path, search=".::bin:/bin")
    assert tools.path.split(":")[-1] == "/bin"
    assert not {"", ".", "bin"} & set(tools.path.split(":"))


def test_the_gate_hash_follows_checks_tools_and_packages(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    python = program(tmp_path / "bin" / "python")
    tools = Tools(python=python, ruff=None, path="/bin")
    checks = (parse("pytest"), parse("ruff"))
    hashes = [
        identity(checks, tools),
        identity(checks[:1], tools),
        identity((parse("pytest -x"), checks[1]), tools),
        identity(checks, replace(tools, path="/usr/bin")),
        identity(checks, replace(tools, ruff=python)),
    ]
    os.utime(python, (1, 1))
    hashes.append(identity(checks, tools))
    (packages / "thing-1.0.dist-info").mkdir()
    hashes.append(identity(checks, tools))
    assert len(set(hashes)) == len(hashes)
    (packages / "__pycache__").mkdir()
    assert identity(checks, tools) == hashes[-1]
