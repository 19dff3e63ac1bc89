"""Which checks make up a gate, with which tools, and what identifies the two together.

A check is one command of the configuration. `pytest` and `ruff check` are understood: tests and
findings are compared one by one with the base's. Any other command is believed by its exit code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from fleet.core.errors import FleetError
from fleet.process.command import run

GATE_VERSION = 2  # raise it when the same tree may be reported differently
NO_TESTS = "it found no tests"  # the note of the one incomplete run that a base may have

TEST_FOLDERS = frozenset({"tests", "test"})
DATA_FOLDERS = frozenset({"testdata", "snapshots", "__snapshots__", "golden", "cassettes"})

_SHELL = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"})


class Kind(StrEnum):
    PYTEST = "pytest"
    RUFF = "ruff"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str  # the command as it was written
    kind: Kind
    argv: tuple[str, ...]  # what follows `pytest` or `ruff check`; all words of a command


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The programs a gate runs. All paths are absolute and outside the tree under test."""

    python: Path  # the repository's own interpreter; a venv's link is kept as a link
    ruff: Path | None
    path: str  # where commands are searched
    top: Path | None = None  # the user's checkout, which an editable install may point into


def parse(command: str) -> Check:
    """A check from the words of its command, split as a shell would; ValueError says why not."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{command!r} cannot be split into words: {error}") from error
    if not words:
        raise ValueError("a gate command is empty")
    operators = [word for word in words if word in _SHELL]
    if operators:
        raise ValueError(
            f"{command!r} has {operators[0]!r}, but no shell runs it: list the commands one by "
            "one, or write sh -c '…'"
        )
    name, first, rest = command.strip(), words[0], tuple(words[1:])
    if first == "pytest":
        return Check(name=name, kind=Kind.PYTEST, argv=rest)
    if first in ("python", "python3") and rest[:2] == ("-m", "pytest"):
        return Check(name=name, kind=Kind.PYTEST, argv=rest[2:])
    if first == "ruff" and rest[:1] in ((), ("check",)):
        return Check(name=name, kind=Kind.RUFF, argv=rest[1:])
    return Check(name=name, kind=Kind.COMMAND, argv=tuple(words))


def is_test_file(path: str) -> bool:
    """Whether a file is part of the tests: test modules, conftest.py, helpers and expected data."""
    place = PurePosixPath(path)
    if place.name == "conftest.py" or is_test_module(path):
        return True
    return not (TEST_FOLDERS | DATA_FOLDERS).isdisjoint(place.parts[:-1])


def is_test_module(path: str) -> bool:
    """Whether pytest collects tests from it by default."""
    place = PurePosixPath(path)
    return place.suffix == ".py" and (
        place.stem.startswith("test_") or place.stem.endswith("_test")
    )


def find_tools(*, wanted_python: str, top: Path | None, search: str) -> Tools:
    """Where the tools are, on this machine, now. `search` is a PATH."""
    # A relative entry of PATH would be looked up inside whatever tree is being tested.
    search = os.pathsep.join(
        entry for entry in search.split(os.pathsep) if Path(entry).is_absolute()
    )
    python = _find_python(wanted_python, top, search)
    ruff = next(
        (
            place
            for place in (python.with_name("ruff"), Path(sys.executable).with_name("ruff"))
            if _runs(place)
        ),
        None,
    )
    if ruff is None:
        found = shutil.which("ruff", path=search)
        ruff = Path(found) if found else None
    if (python.parent.parent / "pyvenv.cfg").is_file():
        search = os.pathsep.join((str(python.parent), search))
    return Tools(python=python, ruff=ruff, path=search, top=_absolute(top) if top else None)


def _find_python(wanted: str, top: Path | None, search: str) -> Path:
    if wanted:
        return _wanted_python(wanted, top, search)
    for venv in (".venv", "venv"):
        place = _absolute(top / venv / "bin" / "python") if top else None
        if place is not None and _runs(place):
            return place
    if importlib.util.find_spec("pytest") is not None:
        return Path(sys.executable)
    return Path(shutil.which("python3", path=search) or sys.executable)


def _wanted_python(wanted: str, top: Path | None, search: str) -> Path:
    if "/" in wanted:
        place = _absolute((top or Path("/")) / wanted)
        if _runs(place):
            return place
    elif found := shutil.which(wanted, path=search):
        return Path(found)
    raise FleetError(
        f"fleet.toml: [gate] python = {wanted!r}: there is no such program. Name the interpreter "
        "that has the repository's packages, such as .venv/bin/python"
    )


def missing_tool(check: Check, tools: Tools) -> str:
    """Why a check cannot run on this machine, or ""."""
    if check.kind is Kind.RUFF:
        return "" if tools.ruff else "ruff is not installed"
    if check.kind is Kind.PYTEST:
        asked = (str(tools.python), "-I", "-c", "import pytest")
        done = run(asked, cwd="/", env={"PATH": tools.path})
        return "" if done.ok else f"{tools.python} has no pytest"
    word = check.argv[0]
    found = "/" in word or shutil.which(word, path=tools.path)
    return "" if found else f"{word!r} is not on PATH"


def identity(checks: Sequence[Check], tools: Tools) -> str:
    """The gate hash: changes with the checks, the programs, and the packages beside them."""
    digest = hashlib.sha256()
    for part in _parts(checks, tools):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _parts(checks: Sequence[Check], tools: Tools) -> Iterator[str]:
    yield f"gate {GATE_VERSION}"
    for check in checks:
        yield shlex.join((check.name, check.kind, *check.argv))
    yield tools.path
    for program in (tools.python, tools.ruff):
        yield _stamp(program) if program else "none"
    for folder in sorted((tools.python.parent.parent / "lib").glob("python3*/*-packages")):
        for entry in sorted(folder.iterdir()):
            if entry.suffix in (".dist-info", ".egg-info", ".egg-link", ".pth"):
                yield _stamp(entry)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{path} is gone"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _absolute(path: Path) -> Path:
    # Not `resolve`: a venv's python is a link, and only by that name does it find its packages.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
