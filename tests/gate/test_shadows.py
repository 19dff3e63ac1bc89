from __future__ import annotations

import pytest

from fleet.gate.checks import find_tools, parse
from fleet.gate.shadows import implied, reserved, shadowing

INSTALLED = frozenset({"httpx"})


@pytest.mark.parametrize(
    "path",
    [
        "json.py",
        "src/json.py",
        "tests/random.py",
        "mypy.py",
        "httpx/__init__.py",
        "queue.cpython-311.so",
    ],
)
def test_a_new_module_may_not_take_the_name_of_another(path: str) -> None:
    assert shadowing([path], ["calc.py"], INSTALLED) == [path]


@pytest.mark.parametrize(
    "path", ["pkg/json.py", "src/pkg/queue.py", "json.toml", "docs/json/x.md", "calc/json.py"]
)
def test_a_module_inside_of_a_package_may(path: str) -> None:
    assert shadowing([path], ["calc.py"], INSTALLED) == []


def test_what_the_base_has_already_is_its_own_business() -> None:
    assert shadowing(["httpx/new.py"], ["httpx/__init__.py"], INSTALLED) == []


def test_what_is_installed_beside_the_python_is_found() -> None:
    found = reserved(find_tools(wanted_python="", top=None, search="/usr/bin"))
    assert {"pytest", "hypothesis"} <= found
    assert "tests" not in found


def test_files_that_programs_read_unasked_are_known_in_scripts_too() -> None:
    assert "GNUmakefile" in implied([parse("make check")])
    assert "package.json" in implied([parse("sh -c 'cd web && npm test'")])
    assert implied([parse("pytest make"), parse("true")]) == frozenset()
