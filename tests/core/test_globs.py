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


@pytest.mark.parametrize(
    "glob", ["**/" * 330 + "b", "*a" * 490 + "b", "**/a*/" * 160 + "b", "**/*a*a*a*a*/" * 70 + "b"]
)
def test_no_glob_takes_long_to_say_no(glob: str) -> None:
    """Each of these would have taken longer than the world stands, when tried in all ways."""
    path = "/".join(["a" * 20] * 30) + "/x.py"
    assert not matches(path, [glob])


def test_wild_cards_between_words_match_as_they_always_did() -> None:
    assert matches("src/a/b/c/x_test.py", ["src/**/b/**/*_test.py"])
    assert matches("src/b/b/x/y", ["src/**/b/x"])
    assert not matches("src/b/x", ["src/**/b/**/b/x"])
    assert matches("abcabd", ["a*b*d"])
    assert not matches("abcabde", ["a*b*d"])
    assert matches("a/b", ["a/**/b"])
    assert matches("a/x/b/y", ["a/**/**/b"])
