"""Files that would take the place of something else: of a module, or of a tool's configuration.

A tree's own folders come first on the path of its tests, and `python -m` looks there before
anywhere else. Tools read files that no command names. Pure.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from fleet.gate.checks import TEST_FOLDERS, Check, Kind, Tools, is_test_module

# What is first on `sys.path` when tests run. A module anywhere else is part of a package.
_FIRST = frozenset({"src", *TEST_FOLDERS})
_MODULES = (".py", ".pyc", ".so", ".pyd")
_ALWAYS = frozenset({"pytest", "_pytest", "pluggy", "mypy", "ruff", "coverage", "xdist"})

# Packages install these by mistake, and projects have them.
_ANYBODYS = frozenset(
    {"tests", "test", "docs", "examples", "scripts", "tools", "benchmarks", "src"}
)

# The files that decide what a program of a gate command does, by the program's name.
_READ_BY = {
    "make": ("Makefile", "makefile", "GNUmakefile"),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml", "taskfile.yml"),
    "nox": ("noxfile.py",),
    "npm": ("package.json", ".npmrc"),
    "npx": ("package.json", ".npmrc"),
    "pnpm": ("package.json", ".npmrc", "pnpm-workspace.yaml"),
    "yarn": ("package.json", ".yarnrc.yml"),
    "bun": ("package.json", "bunfig.toml"),
    "node": ("package.json",),
    "invoke": ("tasks.py", "invoke.yaml"),
    "pre-commit": (".pre-commit-config.yaml",),
    "eslint": ("eslint.config.js", "eslint.config.mjs", ".eslintrc.json", ".eslintrc.js"),
    "jest": ("jest.config.js", "jest.config.ts"),
    "vitest": ("vitest.config.ts", "vitest.config.js", "vite.config.ts"),
    "tsc": ("tsconfig.json",),
    "cargo": (".cargo/config.toml", "clippy.toml", "rustfmt.toml"),
}


def implied(checks: Iterable[Check]) -> frozenset[str]:
    """Names of files that the gate's commands read without naming them, whether they exist or not:
    a new GNUmakefile goes before the Makefile that was there."""
    words = {
        PurePosixPath(part).name
        for check in checks
        if check.kind is Kind.COMMAND
        for word in check.argv
        for part in _inner(word)
    }
    return frozenset(name for word in words for name in _READ_BY.get(word, ()))


def _inner(word: str) -> list[str]:
    """A word, or those of the script it is: `sh -c 'make test'`."""
    try:
        return shlex.split(word, comments=True)
    except ValueError:
        return word.split()


def reserved(tools: Tools) -> frozenset[str]:
    """The modules installed beside the gate's Python, by their names at the top."""
    found: set[str] = set()
    for folder in (tools.python.parent.parent / "lib").glob("python3*/*-packages"):
        found.update(_module(entry.name) for entry in folder.iterdir())
    return frozenset(
        name for name in found - _ANYBODYS if name.isidentifier() and not name.startswith("__")
    )


def shadowing(
    added: Iterable[str], base_paths: Collection[str], installed: frozenset[str]
) -> Sequence[str]:
    """Of the paths that a change adds, those of modules which take the name of another one: of the
    standard library, of an installed one, or of the base's in another place."""
    added = list(added)
    taken = {*sys.stdlib_module_names, *_ALWAYS, *installed}
    folders = _on_path((*base_paths, *added))
    own: dict[str, set[str]] = {}
    for path in base_paths:
        for name, place in _importable(path, folders):
            own.setdefault(name, set()).add(place)
    return [
        path
        for path in added
        if any(
            place not in own[name] if name in own else name in taken
            for name, place in _importable(path, folders)
        )
    ]


def _on_path(paths: Iterable[str]) -> frozenset[str]:
    """The folders that tests may import from: the top, src, and wherever pytest finds tests."""
    tests = (str(PurePosixPath(path).parent) for path in paths if is_test_module(path))
    return frozenset({".", *_FIRST, *tests})


def _importable(path: str, folders: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The names by which a file can be imported, and where each of them leads."""
    place = PurePosixPath(path)
    if not place.name.endswith(_MODULES) or is_test_module(path) or place.name == "conftest.py":
        return
    if place.name == "__init__.py":
        if str(place.parent.parent) in folders and place.parent.name not in _FIRST:
            yield place.parent.name, str(place.parent)
    elif str(place.parent) in folders:
        yield _module(place.name), f"{place.parent}/{_module(place.name)}.py"


def _module(name: str) -> str:
    """The module that an entry of a folder on the path is; "" when it is none."""
    if name.endswith(_MODULES):
        return name.partition(".")[0]
    return "" if "." in name else name
