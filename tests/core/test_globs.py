from __future__ import annotations

import pytest

from fleet.core.globs import matches, overlap


@pytest.mark.parametrize(
    ("path", "glob"),
    [
        ("src/a.py", "src/*.py"),
        ("src/deep/a.py", "src/**/*.py"),
        ("src/a.py", "src/**/*.py"),
        ("conftest.py", "**/conftest.py"),
        ("a/b/conftest.py", "**/conftest.py"),
        ("src/a/b.py", "src"),
        ("src/a/b.py", "src/"),
        ("src/a/b.py", "src/**"),
        ("a\nb.py", "*.py"),
    ],
)
def test_a_glob_takes_in_its_paths(path: str, glob: str) -> None:
    assert matches(path, [glob])


@pytest.mark.parametrize(
    ("path", "glob"),
    [
        ("src/deep/a.py", "src/*.py"),
        ("src2/a.py", "src"),
        ("my_conftest.py", "**/conftest.py"),
        ("src/a.pyc", "src/*.py"),
    ],
)
def test_a_glob_leaves_other_paths_alone(path: str, glob: str) -> None:
    assert not matches(path, [glob])


@pytest.mark.parametrize(
    ("left", "right", "meet"),
    [
        (["src/a.py"], ["src/a.py"], True),
        (["src/a.py"], ["src/b.py"], False),
        (["src/*.py"], ["src/b.py"], True),
        (["src"], ["src/x/y.py"], True),
        (["src/**"], ["docs/*"], False),
        (["**/x.py"], ["docs/*"], True),
        (["src/a*.py"], ["src/b*.py"], False),
        (["docs", "src/a.py"], ["src/a.py"], True),
        ([], ["src/a.py"], True),
    ],
)
def test_globs_overlap_when_one_path_could_match_both(
    left: list[str], right: list[str], *, meet: bool
) -> None:
    assert overlap(left, right) is meet
    assert overlap(right, left) is meet
