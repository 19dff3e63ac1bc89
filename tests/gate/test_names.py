from __future__ import annotations

import pytest

from fleet.gate.names import clashes, is_gits, leads_astray, odd, shown


@pytest.mark.parametrize(
    "path",
    [
        ".git", ".GIT/config", "a/.Git/hooks/x", ".git /x", ".git./x", ".git . ./x", "git~1/x",
        "GIT~2", "gi7eb9~1/config", ".g\u200cit/config", ".git\ufeff", ".git::$INDEX_ALLOCATION/x",
        ".git:stream", "a\\.git\\config", "sub\\git~1",
    ],
)  # fmt: skip
def test_what_some_file_system_takes_for_gits_own_is_known(path: str) -> None:
    assert is_gits(path)


@pytest.mark.parametrize(
    "path", [".gitignore", ".gitattributes", "git", "a/dotgit", "git~", ".github/x", "x.git", ".gi"]
)
def test_names_like_it_are_no_harm(path: str) -> None:
    assert not is_gits(path)


@pytest.mark.parametrize(
    "path", ["a\nb", "a\x1b[31mb", "a\x7f", "a\u202egpj.exe", "a\\b", "c:d", "a\x85", "a\udcff"]
)
def test_odd_names_are_told(path: str) -> None:
    assert odd(path)
    assert shown(path).isprintable()


@pytest.mark.parametrize(
    "path", ["ünïcode", "with space", "-dash", "文件", "👩\u200d💻.md", "a~b", "a;b"]
)
def test_names_that_people_give_are_not_odd(path: str) -> None:
    assert odd(path) == ""


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", "/etc/passwd"), ("l", ".."), ("a/l", "../../x"), ("a/l", "../.."), ("l", ""),
        ("l", "d/../../x"), ("y", "a/b/c/.."), ("l", ".git/config"), ("a/l", "../.GIT"),
        ("l", "x" * 5000), ("l", "./../x"), ("l", "a//../../x"),
    ],
)  # fmt: skip
def test_links_that_may_lead_out_are_refused(path: str, target: str) -> None:
    assert leads_astray(path, target)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", "a"),
        ("a/b/l", "../../c"),
        ("a/l", "../b"),
        ("l", "./a/./b"),
        ("a/l", ".."),
        ("l", "."),
    ],
)
def test_links_that_stay_inside_are_fine(path: str, target: str) -> None:
    assert not leads_astray(path, target)


@pytest.mark.parametrize(
    ("added", "others"),
    [
        (["A.py"], ["a.py"]), (["a/B/x"], ["a/b/y"]), (["link", "LINK/x"], []),
        (["stra\u00dfe"], ["STRASSE"]),
        (["caf\u00e9"], ["cafe\u0301"]), (["Folder"], ["folder/x"]), (["a", "A"], ["a"]),
    ],
)  # fmt: skip
def test_names_that_are_one_where_case_is_folded_clash(added: list[str], others: list[str]) -> None:
    assert len(clashes(added, others)) == 1


def test_names_that_differ_do_not_clash() -> None:
    assert clashes(["a/b", "a/c", "ab"], ["a/d", "a/b"]) == []
    assert clashes([], ["a", "A"]) == []  # it was so before
