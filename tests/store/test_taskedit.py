from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.core.errors import ConfigError, FleetError, UsageError
from fleet.store.taskedit import append, slug
from fleet.store.taskfiles import load, wrong_id

COMMENTED = """\
# My tasks.   Trailing blanks stay:   

[[tasks]]   # the first
id   = 'one'
prompt = '''
Do it. # not a comment
'''
paths = [ "a",   # why
  "b" ]
# the end, without a newline"""  # noqa: W291


def a_file(folder: Path, text: str) -> Path:
    file = folder / "tasks.toml"
    file.write_bytes(text.encode())
    return file


def test_a_new_file_has_the_task(tmp_path: Path) -> None:
    file = tmp_path / "tasks" / "tasks.toml"
    append(file, {"id": "one", "prompt": "Do it\nwell", "paths": ("src/**",), "timeout": "30m"})
    found = load(file.parent)
    assert found.problems == ()
    assert found.tasks[0].prompt == "Do it\nwell"
    assert found.tasks[0].paths == ("src/**",)
    assert found.tasks[0].timeout_s == 1800
    assert file.read_text().startswith('[[tasks]]\nid = "one"\nprompt = """\n')


def test_every_byte_of_the_rest_is_kept(tmp_path: Path) -> None:
    file = a_file(tmp_path, COMMENTED)
    append(file, {"id": "two", "prompt": "Then this"})
    append(file, {"id": "three", "prompt": "And this"})
    text = file.read_text()
    assert text.startswith(COMMENTED + "\n\n[[tasks]]\n")
    assert [task.id for task in load(file).tasks] == ["one", "two", "three"]


def test_line_ends_are_written_as_the_file_has_them(tmp_path: Path) -> None:
    old = COMMENTED.replace("\n", "\r\n")
    file = a_file(tmp_path, old)
    append(file, {"id": "two", "prompt": "a\nb"})
    new = file.read_bytes().decode()
    assert new.startswith(old)
    assert "\n" not in new.replace("\r\n", "")
    assert load(file).tasks[1].prompt == "a\nb"


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ("tasks = []\n", ""),
        ("# none yet\ntasks = [\n\n]  # soon\n# end\n", "# none yet\n# soon\n# end\n"),
        ("\n'tasks'=[]", "\n"),
        ("", ""),
        ("# only words\n", "# only words\n"),
    ],
)
def test_a_file_without_tasks_gets_its_first(tmp_path: Path, before: str, kept: str) -> None:
    file = a_file(tmp_path, before)
    append(file, {"id": "one", "prompt": "p"})
    assert file.read_text().startswith(kept)
    assert [task.id for task in load(file).tasks] == ["one"]
    assert load(file).problems == ()


def test_an_inline_list_grows_and_keeps_its_comments(tmp_path: Path) -> None:
    old = '# top\ntasks = [\n  { id = "one", prompt = "p" }, # first\n  # more to come\n]\n# end\n'
    file = a_file(tmp_path, old)
    append(file, {"id": "two", "prompt": 'say "hi"\nand go', "paths": ["a"]})
    new = file.read_text()
    assert [task.id for task in load(file).tasks] == ["one", "two"]
    assert load(file).tasks[1].prompt == 'say "hi"\nand go'
    for comment in ("# top", "# first", "# more to come", "# end"):
        assert comment in new


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_is_kept_and_nothing_is_left_beside_the_file(tmp_path: Path, mode: int) -> None:
    file = a_file(tmp_path, COMMENTED)
    file.chmod(mode)
    append(file, {"id": "two", "prompt": "p"})
    assert file.stat().st_mode & 0o7777 == mode
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "text",
    [
        '[[tasks]]\nid = "one\n',
        "tasks = 3\n",
        "[tasks]\nx = 1\n",
        "[tasks.x]\ny = 1\n",
        "\ufefftasks = []\n",
        "a = " + "[" * 50,
        "# " + "x" * (1 << 20),
    ],
)
def test_a_file_that_cannot_be_extended_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = a_file(tmp_path, text)
    with pytest.raises(FleetError):
        append(file, {"id": "two", "prompt": "p"})
    assert file.read_bytes() == text.encode()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": "One", "prompt": "p"}, "no valid id"),
        ({"id": "two", "prompt": " "}, "prompt is empty"),
        ({"id": "two", "prompt": "p\0"}, "NUL"),
        ({"id": "two", "prompt": "p\udce9"}, "UTF-8"),
        ({"id": "two", "prompt": "p", "timeout": "8 days"}, "1h30m"),
        ({"id": "two", "prompt": "p", "paths": ["../x"]}, "leaves the repository"),
        ({"id": "two", "prompt": "p", "priorty": 1}, "did you mean 'priority'?"),
        ({"id": "one", "prompt": "p"}, "already"),
    ],
)
def test_a_task_that_would_not_load_is_not_added(
    tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    file = a_file(tmp_path, COMMENTED)
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        append(file, fields)
    assert file.read_text() == COMMENTED


def test_a_problem_elsewhere_in_the_file_does_not_matter(tmp_path: Path) -> None:
    file = a_file(tmp_path, '[[tasks]]\nid = "Bad"\n')
    append(file, {"id": "two", "prompt": "p", "depends_on": ["elsewhere"]})
    assert file.read_text().startswith('[[tasks]]\nid = "Bad"\n')


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("tasks = []\n")
    (tmp_path / "tasks.toml").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="symbolic link"):
        append(tmp_path / "tasks.toml", {"id": "two", "prompt": "p"})
    assert (tmp_path / "real").read_text() == "tasks = []\n"


def test_adding_at_the_same_time_loses_nothing(tmp_path: Path) -> None:
    file = a_file(tmp_path, COMMENTED)
    script = (
        "import sys; from pathlib import Path; from fleet.store.taskedit import append\n"
        "for n in range(10): append(Path(sys.argv[1]), "
        "{'id': f'{sys.argv[2]}-{n}', 'prompt': 'p'})"
    )
    root = Path(__file__).parents[2]
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(file), name], cwd=root)
        for name in ("a", "b", "c")
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert len(load(file).tasks) == 31
    assert file.read_text().startswith(COMMENTED)


def test_a_save_by_an_editor_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(tmp_path, COMMENTED)
    saves = iter([COMMENTED + "\n# saved meanwhile\n"])
    fsync = os.fsync

    def save_first(fd: int) -> None:  # our bytes are on their way: now the editor saves
        for text in saves:
            file.write_text(text)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", save_first)
    append(file, {"id": "two", "prompt": "p"})
    assert "# saved meanwhile" in file.read_text()
    assert [task.id for task in load(file).tasks] == ["one", "two"]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.text(alphabet="a\"'\\\n\r\t #[]{}=é\x01\x7f\u2028", min_size=1, max_size=30))
def test_any_prompt_comes_back_as_it_was(tmp_path: Path, prompt: str) -> None:
    file = a_file(tmp_path, COMMENTED)
    if not prompt.strip():
        return
    append(file, {"id": "two", "prompt": prompt})
    assert tomllib.loads(file.read_text())["tasks"][1]["prompt"] == re.sub(r"\r+\n", "\n", prompt)
    assert file.read_text().startswith(COMMENTED)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Add a --json flag to export", "add-a-json-flag-to-export"),
        ("Größe ändern!", "grosse-andern"),
        ("", "task"),
        ("你好", "task"),
        ("x" * 200, "x" * 48),
        ("word " * 40, "word-word-word-word-word-word-word-word-word"),
        ("fix", "fix-3"),
    ],
)
def test_a_slug_is_a_free_valid_id(text: str, wanted: str) -> None:
    assert slug(text, {"fix", "FIX-2"}) == wanted


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_every_slug_is_valid(text: str) -> None:
    assert wrong_id(slug(text, ())) == ""
