"""What judges tests, as it was before any code of the tree ran. PYTEST_DONT_REWRITE

Functions are remembered with their code, classes with all they define. Neither ids nor names
would do: what is replaced must not be able to take the place of what was freed.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import types
from typing import Any, Iterator, List, Tuple

from _pytest.config import default_plugins

# Looked at whenever a test has been called; the others at the end.
_NEAR = (
    "_pytest.python.Function",
    "_pytest.python.pytest_pyfunc_call",
    "_pytest.reports",
    "_pytest.runner",
    "_pytest.skipping.pytest_runtest_makereport",
    "_pytest.unittest",
    "fleet_pytest_guard",
    "fleet_pytest_memory",
    "pluggy._callers",
    "unittest.case.TestCase",
    "unittest.case._",
    "__main__.Report",
)
_MORE = (
    *("_pytest", "pluggy", "pytest", "unittest", "builtins", "json"),
    *("fleet_pytest_guard", "fleet_pytest_memory", "__main__"),
)

Entry = Tuple[str, Any, str, Any, Any]  # where, its owner, its name, its value, that one's code


class Memory:
    def __init__(self, entries: List[Entry], owners: List[Tuple[str, Any, int]]) -> None:
        self._entries = entries
        self._owners = owners  # with how many names each had

    def narrow(self) -> Memory:
        return Memory(
            [entry for entry in self._entries if entry[0].startswith(_NEAR)] + _WORDS,
            [owner for owner in self._owners if owner[0].startswith(_NEAR)],
        )

    def add(self, more: Memory) -> None:
        self._entries += more._entries
        self._owners += more._owners

    def changed(self) -> Iterator[str]:
        """The names of what is no longer what it was, or is new and can be called."""
        for where, owner, name, value, code in self._entries:
            now = vars(owner).get(name)
            if (code is not None and _code(value) is not code) or (
                now is not value and not _installed(now)
            ):
                yield where
        for where, owner, count in self._owners:
            if len(vars(owner)) > count:
                yield from self._added(where, owner)

    def _added(self, where: str, owner: Any) -> Iterator[str]:
        if owner is builtins:
            return  # such as gettext's `_`
        known = {entry[2] for entry in self._entries if entry[1] is owner}
        for name, value in list(vars(owner).items()):
            lies = isinstance(owner, type) or name in vars(builtins)
            if name not in known and lies and _matters(value) and not _installed(value):
                yield where + "." + name


def _matters(value: Any) -> bool:
    return isinstance(value, (type, staticmethod, classmethod, property)) or callable(value)


def _code(value: Any) -> Any:
    value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    return getattr(value, "__code__", None)


def _installed(value: Any) -> bool:
    """Whether it was written in an installed plugin: those patch pytest, and may."""
    code = _code(value)
    file = getattr(code, "co_filename", "")
    name = file.rpartition(os.sep + "site-packages" + os.sep)[2]
    ours = name.split(os.sep)[0] in ("_pytest", "pluggy", "pytest")
    return name != file and (not ours or name.endswith("legacypath.py"))


def _entries(where: str, owner: Any, inner: bool) -> Iterator[Entry]:
    for name, value in list(vars(owner).items()):
        if not _matters(value):
            continue
        yield where + "." + name, owner, name, value, _code(value)
        if inner and isinstance(value, type) and value.__module__ == owner.__name__:
            yield from _entries(where + "." + name, value, False)


def _modules() -> Iterator[types.ModuleType]:
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] in _MORE:
            yield module


def remember() -> Memory:
    for name in ("unittest.case", *("_pytest." + name for name in default_plugins)):
        importlib.import_module(name)
    return remember_of(list(_modules()))


def remember_of(modules: List[types.ModuleType]) -> Memory:
    entries: List[Entry] = []
    owners: List[Tuple[str, Any, int]] = []
    for module in modules:
        found = list(_entries(module.__name__, module, True))
        entries += found
        owners.append((module.__name__, module, len(vars(module))))
        owners += [
            (where, value, len(vars(value)))
            for where, owner, _, value, _ in found
            if isinstance(value, type) and owner is module and value.__module__ == module.__name__
        ]
    return Memory(entries, owners)


_WORDS: List[Entry] = [
    ("builtins." + name, builtins, name, getattr(builtins, name), None)
    for name in ("AssertionError", "Exception", "BaseException")  # tests patch the others, and may
]
