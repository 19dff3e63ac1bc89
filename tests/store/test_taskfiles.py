from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.core.task import Task, TaskState, TestRule
from fleet.store.taskfiles import TaskFiles, load, wrong_id
from tests.store.task_folder import GOOD, a_file, said

PREDECESSOR = """\
[[tasks]]
id = "setup"
prompt = "Set it up"
status = "completed"
claimed_by = "agent-0"

[[tasks]]
id = "login"
prompt = '''
Add a login page.
'''
priority = 0
status = "failed"
failure_reason = "timeout"

[[tasks]]
id = "logout"
prompt = "And a way out"
priority = 3
status = "running"
claimed_by = "agent-1"
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    found = load(a_file(tmp_path, GOOD))
    assert found.problems == ()
    assert found.tasks == (
        Task(
            id="one",
            prompt="Do it",
            title="One",
            priority=0,
            depends_on=("two",),
            agent="claude",
            model="m",
            paths=("src/**", "docs"),
            timeout_s=5400.0,
            max_attempts=5,
            budget_usd=2.0,
            gate=("mypy --strict src",),
            labels=("x",),
            tests=TestRule.MAY_CHANGE,
            source="tasks/a.toml:1",
        ),
        Task(id="two", prompt="First", source="tasks/a.toml:17"),
    )
    digest = hashlib.sha256(GOOD.encode()).hexdigest()
    assert found.files == ((str(tmp_path / "tasks" / "a.toml"), digest),)


def test_a_file_of_the_predecessor_loads_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "tasks.toml"
    file.write_text(PREDECESSOR)
    found = load(file)
    assert found.problems == ()
    assert [(t.id, t.priority, t.status, t.failure_reason, t.source) for t in found.tasks] == [
        ("setup", 1, TaskState.MERGED, "", "tasks.toml:1"),
        ("login", 0, TaskState.FAILED, "timeout", "tasks.toml:7"),
        ("logout", 3, TaskState.PENDING, "", "tasks.toml:16"),
    ]


@pytest.mark.parametrize("text", ["tasks = []\n", "# later\ntasks = [\n]"])
def test_a_file_may_have_no_tasks(tmp_path: Path, text: str) -> None:
    assert load(a_file(tmp_path, text)).problems == ()


def test_a_missing_folder_has_no_tasks(tmp_path: Path) -> None:
    assert load(tmp_path / "tasks") == TaskFiles()


def test_files_are_read_in_the_order_of_their_names_without_leftovers(tmp_path: Path) -> None:
    for name in ("b.toml", "a.toml", ".c.toml", "d.toml~", "e.toml.tmp", "notes.md", ".#a.toml"):
        a_file(tmp_path, f'[[tasks]]\nid = "t-{name[0]}"\nprompt = "p"\n', name)
    found = load(tmp_path / "tasks")
    assert [task.id for task in found.tasks] == ["t-a", "t-b"]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ('prompt = "p"', 2, "id is missing"),
        ('id = ""\nprompt = "p"', 3, "id is empty"),
        ('id = 7\nprompt = "p"', 3, "id must be a text"),
        ('id = "x"', 2, "prompt is missing"),
        ('id = "x"\nprompt = " \\n"', 4, "prompt is empty"),
        ('id = "x"\nprompt = "a\\u0000b"', 4, "NUL"),
        (f'id = "x"\nprompt = "{"é" * 131_073}"', 4, "prompt has 262,146 bytes"),
        ('id = "x"\nprompt = "p"\npriority = -1', 5, "priority is -1"),
        ('id = "x"\nprompt = "p"\npriority = 1000000001', 5, "allowed: 0 to 1,000,000,000"),
        ('id = "x"\nprompt = "p"\npriority = true', 5, "not true"),
        ('id = "x"\nprompt = "p"\npriority = 1.5', 5, "whole number"),
        ('id = "x"\nprompt = "p"\npriority = nan', 5, "whole number"),
        ('id = "x"\nprompt = "p"\nmax_attempts = 0', 5, "1 to 100"),
        ('id = "x"\nprompt = "p"\nmax_attempts = 101', 5, "1 to 100"),
        ('id = "x"\nprompt = "p"\ntimeout = "8d"', 5, "7 days"),
        ('id = "x"\nprompt = "p"\ntimeout = -1', 5, "timeout is -1"),
        ('id = "x"\nprompt = "p"\ntimeout = inf', 5, "timeout is inf"),
        ('id = "x"\nprompt = "p"\ntimeout = "soon"', 5, '"1h30m"'),
        ('id = "x"\nprompt = "p"\nbudget_usd = 0', 5, "budget_usd is 0"),
        ('id = "x"\nprompt = "p"\nbudget_usd = nan', 5, "budget_usd is nan"),
        ('id = "x"\nprompt = "p"\nbudget_usd = 1e999', 5, "budget_usd is inf"),
        ('id = "x"\nprompt = "p"\npaths = ["/etc"]', 5, "not relative"),
        ('id = "x"\nprompt = "p"\npaths = ["a/../../b"]', 5, "leaves the repository"),
        ('id = "x"\nprompt = "p"\npaths = [""]', 5, "is empty"),
        ('id = "x"\nprompt = "p"\npaths = ["./"]', 5, "names no path"),
        ('id = "x"\nprompt = "p"\npaths = "src"', 5, 'paths = ["…"]'),
        ('id = "x"\nprompt = "p"\ngate = ["a \'b"]', 5, "split into words"),
        ('id = "x"\nprompt = "p"\nstatus = "done"', 5, "status is 'done'"),
        ('id = "x"\nprompt = "p"\ntests = "keeep"', 5, "did you mean 'keep'?"),
        ('id = "x"\nprompt = "p"\npriorty = 1', 5, "did you mean 'priority'?"),
        ('id = "x"\nprompt = "p"\ndepends_on = ["x"]', 5, "depends on itself"),
        ('id = "x"\nprompt = "p"\ndepends_on = ["fin"]', 5, "did you mean 'fine'?"),
    ],
)
def test_a_wrong_task_is_left_out_and_explained(
    tmp_path: Path, lines: str, line: int, words: str
) -> None:
    found = load(
        a_file(tmp_path, f'\n[[tasks]]\n{lines}\n\n[[tasks]]\nid = "fine"\nprompt = "p"\n')
    )
    assert [task.id for task in found.tasks] == ["fine"]
    assert len(found.problems) == 1
    assert found.problems[0].where == f"tasks/a.toml:{line}"
    assert words in str(found.problems[0])
    assert found.problems[0].fix


@pytest.mark.parametrize(
    "id_",
    [
        "../x",
        "a/b",
        "-rf",
        "CON",
        "Fix",
        "a" * 65,
        "ünï",
        "a b",
        "\u0430",
        "a..b",
        "a.lock",
        "a.",
        ".a",
        "a\n",
        "a\x00",
        "",
        "_a",
    ],
)
def test_bad_ids_are_refused(id_: str) -> None:
    assert wrong_id(id_)


@pytest.mark.parametrize("id_", ["a", "0", "a.b", "a_b-c.1", "a" * 64, "a.lock.b", "lock"])
def test_good_ids_are_not(id_: str) -> None:
    assert wrong_id(id_) == ""


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab.-_/~^:\\ \nAé@{", max_size=8))
def test_an_id_stays_one_plain_file_name(text: str) -> None:
    if not wrong_id(text):
        assert Path("/claims", text).parent == Path("/claims")
        assert not text.startswith(("-", "."))


def test_a_wrong_id_comes_with_a_right_one(tmp_path: Path) -> None:
    found = load(a_file(tmp_path, '[[tasks]]\nid = "Fix Login!"\nprompt = "p"\n'))
    assert found.problems[0].fix == "such as 'fix-login'"


def test_double_ids_name_both_places(tmp_path: Path) -> None:
    a_file(tmp_path, '[[tasks]]\nid = "same"\nprompt = "p"\n')
    tasks = a_file(tmp_path, 'x = 1\n[[tasks]]\nid = "same"\nprompt = "p"\n', "b.toml")
    found = load(tasks)
    assert found.tasks == ()
    assert "tasks/b.toml:2: the id 'same' is taken: 'same' is at tasks/a.toml:1" in said(found)


def test_ids_that_differ_only_in_case_are_double(tmp_path: Path) -> None:
    text = '[[tasks]]\nid = "same"\nprompt = "p"\n[[tasks]]\nid = "SAME"\nprompt = "p"\n'
    assert "tasks/a.toml:4: the id 'SAME' is taken" in said(load(a_file(tmp_path, text)))


def test_circles_are_named(tmp_path: Path) -> None:
    needs = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "f", "f": "e"}
    text = "".join(
        f'[[tasks]]\nid = "{id_}"\nprompt = "p"\ndepends_on = ["{need}"]\n'
        for id_, need in needs.items()
    )
    found = load(a_file(tmp_path, text))
    assert [task.id for task in found.tasks] == ["d"]
    assert [str(problem).splitlines()[0] for problem in found.problems] == [
        "tasks/a.toml:4: tasks wait for each other: a → b → c → a",
        "tasks/a.toml:20: tasks wait for each other: e → f → e",
    ]


def test_dependencies_cross_files(tmp_path: Path) -> None:
    a_file(tmp_path, '[[tasks]]\nid = "a"\nprompt = "p"\ndepends_on = ["b"]\n')
    tasks = a_file(tmp_path, '[[tasks]]\nid = "b"\nprompt = "p"\n', "b.toml")
    assert load(tasks).problems == ()
    a_file(tmp_path, "[[tasks]\n", "b.toml")
    assert "mend tasks/b.toml first" in said(load(tasks))


def test_an_empty_file_says_how_to_have_no_tasks(tmp_path: Path) -> None:
    found = load(a_file(tmp_path, ""))
    assert found.problems[0].fix == "write tasks = [] if there are none yet"


def test_all_problems_come_at_once_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    a_file(tmp_path, '[[tasks]]\nid = "x"\npromt = 1\n' * 12)
    found = load(a_file(tmp_path, "[fleet]\n" + GOOD, "b.toml"))
    places = [
        (file, int(line)) for file, _, line in (p.where.rpartition(":") for p in found.problems)
    ]
    assert places == sorted(places)
    assert len([place for place in places if place[0] == "tasks/a.toml"]) == 12 + 12 + 11
    assert places[-1] == ("tasks/b.toml", 1)


def test_a_task_that_does_not_say_gets_the_fleets_attempts(tmp_path: Path) -> None:
    found = load(a_file(tmp_path, GOOD), max_attempts=9)
    assert [task.max_attempts for task in found.tasks] == [5, 9]
