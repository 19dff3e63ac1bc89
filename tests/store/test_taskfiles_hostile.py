from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.core.task import Task
from fleet.store.taskfiles import fingerprint, load
from tests.store.task_folder import GOOD, a_file, said


def test_a_file_that_cannot_be_used_does_not_hide_the_others(tmp_path: Path) -> None:
    tasks = a_file(tmp_path, '[[tasks]]\nid = "good"\nprompt = "p"\n', "m.toml")
    secret = tmp_path / "secret"
    secret.write_text('[[tasks]]\nid = "secret"\nprompt = "p"\n')
    (tasks / "a-link.toml").symlink_to(secret)
    (tasks / "b-dangling.toml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tasks / "c-fifo.toml")
    (tasks / "d-folder.toml").mkdir()
    (tasks / "e-empty.toml").touch()
    (tasks / "f-latin.toml").write_bytes(b'# caf\xe9\n[[tasks]]\nid = "x"\n')
    (tasks / "g-broken.toml").write_text('[[tasks]]\nid = "x\n')
    (tasks / "h-bomb.toml").write_text("a = " + "[" * 100_000)
    (tasks / "i-other.toml").write_text("tasks = 3\n")
    (tasks / "j\x1b.toml").write_text("tasks = [1]\n")
    began = time.monotonic()
    found = load(tasks)
    assert time.monotonic() - began < 5
    assert [task.id for task in found.tasks] == ["good"]
    assert [(problem.where, problem.what[:28]) for problem in found.problems] == [
        ("'tasks/j\\x1b.toml':1", "item 1 of tasks, 1, is no ta"),
        ("tasks/a-link.toml", "this is a symbolic link"),
        ("tasks/b-dangling.toml", "this is a symbolic link"),
        ("tasks/c-fifo.toml", "this is not a regular file"),
        ("tasks/d-folder.toml", "this is not a regular file"),
        ("tasks/e-empty.toml:1", "there is no tasks"),
        ("tasks/f-latin.toml:1", "byte 0xe9 here is not UTF-8"),
        ("tasks/g-broken.toml:2", "not valid TOML: Illegal char"),
        ("tasks/h-bomb.toml:1", "brackets are nested more tha"),
        ("tasks/i-other.toml:1", "tasks must be an array of ta"),
    ]
    assert all(problem.fix for problem in found.problems)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    tasks = a_file(tmp_path, GOOD)
    (tasks / "a.toml").chmod(0)
    assert "Permission denied" in said(load(tasks))


def test_a_device_or_a_linked_folder_is_a_problem(tmp_path: Path) -> None:
    tasks = a_file(tmp_path, GOOD)
    link = tmp_path / "link"
    link.symlink_to(tasks)
    assert said(load(link)).startswith("link: this is a symbolic link")
    assert "regular file" in said(load(Path("/dev/null")))
    assert "regular file" in said(load(Path("/dev/zero")))


def test_ten_thousand_tasks_in_one_chain_load(tmp_path: Path) -> None:
    text = "".join(
        f'[[tasks]]\nid = "t{n}"\nprompt = "do {n}"\n'
        + (f'depends_on = ["t{n - 1}"]\n\n' if n else "\n")
        for n in range(10_000)
    )
    began = time.monotonic()
    found = load(a_file(tmp_path, text))
    assert time.monotonic() - began < 10
    assert found.problems == ()
    assert len(found.tasks) == 10_000
    assert found.tasks[-1].source == f"tasks/a.toml:{5 * 9_999}"


def test_thousands_of_mistakes_take_no_long_thinking(tmp_path: Path) -> None:
    text = "".join(
        f'[[tasks]]\nid = "t{n}"\nprompt = "p"\nkey{n} = 1\ndepends_on = ["u{n}"]\n'
        for n in range(3_000)
    )
    began = time.monotonic()
    problems = load(a_file(tmp_path, text)).problems
    assert 2_000 <= len(problems) < 2_010
    assert any("nothing after this task" in problem.what for problem in problems)
    assert time.monotonic() - began < 10


def test_the_fingerprint_follows_every_change(tmp_path: Path) -> None:
    prints = [fingerprint(tmp_path / "tasks")]
    tasks = a_file(tmp_path, GOOD)
    prints.append(fingerprint(tasks))
    assert fingerprint(tasks) == prints[-1]
    (tasks / "b.toml").write_text("tasks = []")
    prints.append(fingerprint(tasks))
    times = (tasks / "b.toml").stat()
    (tasks / "b.toml").write_text("tasks=[] #")  # as long as before, with its old date
    os.utime(tasks / "b.toml", ns=(times.st_atime_ns, times.st_mtime_ns))
    prints.append(fingerprint(tasks))
    (tasks / "b.toml").unlink()
    assert len({*prints}) == 4
    assert fingerprint(tasks) == prints[1]
    assert fingerprint(tasks / "a.toml") not in prints


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_damage_ends_in_problems_and_never_in_a_crash(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    found = load(a_file(tmp_path, bytes(raw)))
    for task in found.tasks:
        assert Task.of_json(task.as_json()) == task
    assert all(problem.where.startswith("tasks/a.toml:") for problem in found.problems)
