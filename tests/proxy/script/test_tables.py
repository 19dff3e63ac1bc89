from __future__ import annotations

from pathlib import Path

import pytest

from fleet.core.errors import ConfigError
from fleet.proxy.script import load, parse

ALL_KEYS = """
models = ["claude-script", "gpt-script"]

[[rules]]
name = "all"
when = '(?i)fix'
when_result = 'FAILED'
prompt = 'task (\\d+)'
turn = 2
model = "claude-*"
dialect = "anthropic"
times = 3
text = "I will."
thinking = "Hm."
tool = "bash"
input = { command = "ls", list = [1, 2.5, true, { a = "b" }] }
stop = "tool_use"
usage = { input = 1, output = 2, cache_read = 3, cache_write = 4 }
pieces = 3
delay = "1m30s"
pace = 0.02
stall = 10
cut = "midway"

[[rules]]
error = 529
error_type = "overloaded_error"
message = "later"
retry_after = 2

[[rules]]
garbage = true
chars_per_piece = 8

[[tasks]]
name = "task"
prompt = 'x'
model = "m"
dialect = "chat"

[[tasks.steps]]
[[tasks.steps.tools]]
tool = "bash"
[tasks.steps.tools.input]
command = "ls"
"""


def problems(toml: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(toml.encode(), "model.toml")
    return [str(problem).replace("\n   ", "") for problem in caught.value.problems]


def test_every_key_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(ALL_KEYS)
    script = load(path, "model.toml")
    assert script.models == ("claude-script", "gpt-script")
    assert [rule.name for rule in script.rules] == ["all", "rule 2", "rule 3"]
    answer = script.rules[0].answer
    assert (answer.delay_s, answer.pace_s, answer.stall_s) == (90.0, 0.02, 10.0)
    assert script.tasks[0].steps[0].calls[0].input == {"command": "ls"}


def test_models_may_be_tables() -> None:
    script = parse(b'[[models]]\nid = "a"\n[[models]]\nid = "b"\n', "model.toml")
    assert script.models == ("a", "b")
    assert problems("[[models]]\nname = 'a'\n")[0].startswith("model.toml:1: id is missing")


def test_everything_wrong_is_said_at_once_with_its_line() -> None:
    toml = """[[rules]]
when = "("
txt = "a"
[[rules]]
text = 5
turn = 0
stop = "end_turns"
[[tasks]]
prompt = "x"
steps = [{ text = "a" },
  { text = "b", piece = 2 }]
"""
    found = problems(toml)
    assert [line.partition(": ")[0] for line in found] == [
        "model.toml:1",
        "model.toml:2",
        "model.toml:3",
        "model.toml:5",
        "model.toml:6",
        "model.toml:7",
        "model.toml:10",
    ]
    assert "nothing is said here" in found[0]
    assert "when is no regular expression" in found[1]
    assert "unknown key 'txt' did you mean 'text'?" in found[2]
    assert "did you mean 'end_turn'?" in found[5]
    assert "unknown key 'piece' did you mean 'pieces'?" in found[6]


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("rules = 3", "rules must be an array of tables"),
        ("rules = [3]", "is no table"),
        ("[rule]\ntext = 'a'", "did you mean 'rules'?"),
        ("[[rules]]\ntext = 'a'\nerror = 500", "error and text: only one can be the answer"),
        ("[[rules]]\ntext = 'a'\nretry_after = 2", "retry_after needs error"),
        ("[[rules]]\nerror = 200", "allowed: 400 to 599"),
        ("[[rules]]\ntext = 'a'\ninput = {}", "input needs tool"),
        ("[[rules]]\ntool = 'a'\ninput = 'ls'", "input must be a table"),
        ("[[rules]]\ntool = 'a'\ninput = { at = 2024-01-01 }", "input has a date"),
        ("[[rules]]\ntool = 'a'\ninput = { at = [{ a = nan }] }", "input has a date"),
        ("[[rules]]\ntool = 'a'\ntools = [{ tool = 'b' }]", "tool and tools"),
        ("[[rules]]\ntools = [{ input = {} }]", "tool is missing"),
        ("[[rules]]\ntext = 'a'\npieces = 2\nchars_per_piece = 2", "pieces and chars_per_piece"),
        ("[[rules]]\ntext = 'a'\npieces = 0", "allowed: 1 to"),
        ("[[rules]]\ntext = 'a'\ntimes = true", "times must be a whole number"),
        ("[[rules]]\ntext = 'a'\ndelay = '20ms'", "delay must be a length of time"),
        ("[[rules]]\ntext = 'a'\ncut = 'half'", "cut is 'half'"),
        ("[[rules]]\ntext = 'a'\ngarbage = 1", "garbage must be true or false"),
        ("[[rules]]\ntext = 'a'\ndialect = 'claude'", "dialect is 'claude'"),
        ("[[rules]]\ntext = 'a'\nusage = { inputs = 1 }", "did you mean 'input'?"),
        ("[[rules]]\nname = 'a'\ntext = 'a'\n[[rules]]\nname = 'a'\ntext = 'b'", "given twice"),
        ("[[tasks]]\nsteps = [{ text = 'a' }]", "prompt is missing"),
        ("[[tasks]]\nprompt = 'a'", "steps is missing"),
        ("[[tasks]]\nprompt = 'a'\nsteps = [{ when = 'a', text = 'b' }]", "unknown key 'when'"),
        ("models = [1]", "models: item 1"),
        ("text = ", "not valid TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(toml: str, expected: str) -> None:
    found = problems(toml)
    assert any(expected in problem for problem in found), found


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.toml: cannot be read"):
        load(tmp_path / "model.toml", "model.toml")
