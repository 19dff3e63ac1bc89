from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fleet.core.profile import Api, OutputFormat, Profile, PromptBy
from fleet.store.layout import shipped_agents
from fleet.store.profiles import Profiles, env_of, files_of, fill, load, missing_program

FULL = """\
description = "An agent"
command = ["tool", "--model", "{model}", "--cd={workspace}", "{prompt}"]
prompt = "argument"
pass_env = ["TOOL_TOKEN"]
api = ["openai", "anthropic", "openai"]
output = "claude"
model = "large"
success_exit = [0, 3]

[env]
TOOL_HOME = "{workspace}/.tool"

[files]
".tool/config.json" = '{"model": "x"}'

[stop]
signal = "INT"
grace = "20s"
"""


def read(tmp_path: Path, text: str, name: str = "tool.toml") -> Profiles:
    own = tmp_path / "agents"
    own.mkdir(exist_ok=True)
    (own / name).write_text(text)
    return load(tmp_path / "shipped", own)


def a_profile(command: tuple[str, ...], **fields: object) -> Profile:
    return Profile(**{"name": "tool", "command": command, **fields})  # type: ignore[arg-type]


def test_every_key_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, FULL)
    assert found.problems == ()
    assert found.by_name["tool"] == Profile(
        name="tool",
        command=("tool", "--model", "{model}", "--cd={workspace}", "{prompt}"),
        prompt=PromptBy.ARGUMENT,
        env={"TOOL_HOME": "{workspace}/.tool"},
        pass_env=("TOOL_TOKEN",),
        api=(Api.OPENAI, Api.ANTHROPIC),
        files={".tool/config.json": '{"model": "x"}'},
        output=OutputFormat.CLAUDE,
        model="large",
        stop_signal="INT",
        stop_grace_s=20.0,
        success_exit=(0, 3),
        source="agents/tool.toml",
        folder=str(tmp_path / "agents"),
    )


def test_the_shipped_profiles_load(tmp_path: Path) -> None:
    found = load(shipped_agents(), tmp_path / "agents")
    assert found.problems == ()
    assert all(profile.command for profile in found.by_name.values())


def test_a_users_profile_replaces_the_shipped_one(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "tool.toml").write_text('command = ["old"]')
    (shipped / "other.toml").write_text('command = ["other"]')
    found = read(tmp_path, 'command = ["new"]')
    assert {name: profile.command for name, profile in found.by_name.items()} == {
        "tool": ("new",),
        "other": ("other",),
    }
    assert found.by_name["other"].source == f"{shipped}/other.toml"


def test_a_broken_replacement_does_not_bring_the_shipped_one_back(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "tool.toml").write_text('command = ["old"]')
    found = read(tmp_path, "command = [")
    assert found.by_name == {}
    assert found.problems[0].where == "agents/tool.toml:1"


def test_fleet_at_work_on_itself_reads_its_profiles_once(tmp_path: Path) -> None:
    read(tmp_path, "command = 1")
    assert len(load(tmp_path / "agents", tmp_path / "agents").problems) == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "command is missing or empty"),
        ("command = []", 1, "command is missing or empty"),
        ('command = "tool -p"', 1, "list of texts"),
        ('command = ["a", ""]', 1, "item 2"),
        ('command = ["a", "x\\u0000"]', 1, "NUL"),
        ('command = ["a"]\nprompt = "arg"', 2, "prompt is 'arg'"),
        ('command = ["a"]\nprompt = "argument"', 2, 'put "{prompt}" into command'),
        ('command = ["a"]\nprompt = "file"', 2, 'put "{prompt_file}" into command'),
        ('command = ["a", "{prompt}"]', 1, 'only filled in with prompt = "argument"'),
        ('command = ["a", "{prompt_file}"]', 1, 'only filled in with prompt = "file"'),
        ('command = ["a", "{promt_file}"]', 1, "did you mean 'prompt_file'?"),
        ('command = ["a", "x={modle}"]', 1, "did you mean 'model'?"),
        ('command = ["a"]\nenv = { A = "{prompt}" }', 2, "{prompt} can only stand in command"),
        ('command = ["a"]\nenv = { A = "{workspce}" }', 2, "did you mean 'workspace'?"),
        ('command = ["a"]\n[env]\n"A B" = "x"', 3, "no name of a variable"),
        ('command = ["a"]\n[env]\nFLEET_ATTEMPT = "x"', 3, "fleet's own"),
        ('command = ["a"]\n[env]\nA = 1', 3, "must be a text"),
        ('command = ["a"]\npass_env = ["A=B"]', 2, "no name of a variable"),
        ('command = ["a"]\npass_env = ["OPENAI_API_KEY"]', 2, "gets OPENAI_BASE_URL"),
        ('command = ["a"]\npass_env = ["ANTHROPIC_AUTH_TOKEN"]', 2, 'api = ["anthropic"]'),
        ('command = ["a"]\npass_env = ["A", "GOOGLE_API_KEY"]', 2, "GOOGLE_GEMINI_BASE_URL"),
        ('command = ["a"]\napi = ["antropic"]', 2, "none of anthropic, openai, gemini"),
        ('command = ["a"]\napi = "openai"', 2, "list of texts"),
        ('api = ["openai"]\ncommand = ["a", "{token}"]', 2, "everybody on this machine"),
        ('api = ["openai"]\ncommand = ["a", "--url={proxy}/v1"]', 2, "everybody on this machine"),
        ('command = ["a"]\nenv = { A = "{proxy}/v1" }', 2, 'add api = ["anthropic"]'),
        ('command = ["a"]\n[files]\nx = "{token}"', 2, 'add api = ["anthropic"]'),
        ('api = ["openai"]\ncommand = ["a"]\nenv = { A = "{tokn}" }', 3, "did you mean 'token'?"),
        ('command = ["a"]\n[files]\n"/etc/x" = ""', 3, "not inside HOME"),
        ('command = ["a"]\n[files]\n"a/../../x" = ""', 3, "not inside HOME"),
        ('command = ["a"]\n[files]\n"~/x" = ""', 3, "not inside HOME"),
        ('command = ["a"]\n[files]\n"x/" = ""', 3, "no name of a file"),
        ('command = ["a"]\n[files]\n"" = ""', 3, "no name of a file"),
        ('command = ["a"]\n[files]\n"x" = 1', 3, "must be a text"),
        ('command = ["a"]\noutput = "xml"', 2, "output is 'xml'"),
        ('command = ["a"]\nsuccess_exit = [256]', 2, "0 to 255"),
        ('command = ["a"]\nsuccess_exit = []', 2, "leave it out"),
        ('command = ["a"]\nsuccess_exit = [true]', 2, "0 to 255"),
        ('command = ["a"]\nstop = { signal = "SIGINT" }', 2, "did you mean 'INT'?"),
        ('command = ["a"]\nstop = { grace = "1h" }', 2, "600 seconds"),
        ('command = ["a"]\nstop = { grce = "1s" }', 2, "did you mean 'grace'?"),
        ('command = ["a"]\nstop = "INT"', 2, "must be a table"),
        ('command = ["a"]\nmodel = 5', 2, "must be a text"),
        ('command = ["a"]\ncomand = 5', 2, "did you mean 'command'?"),
    ],
)
def test_a_wrong_profile_is_left_out_and_explained(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    found = read(tmp_path, text)
    assert found.by_name == {}
    assert words in "\n".join(map(str, found.problems))
    assert {problem.where for problem in found.problems} == {f"agents/tool.toml:{line}"}
    assert all(problem.fix for problem in found.problems)


def test_a_file_name_that_is_no_agents_name_is_a_problem(tmp_path: Path) -> None:
    assert "no name for an agent" in str(read(tmp_path, 'command = ["a"]', "My Tool.toml").problems)


def test_braces_that_are_no_placeholders_are_left_alone(tmp_path: Path) -> None:
    words = ["sh", "-c", 'echo ${HOME} ${model} {1,2} {}; echo {"a": 1}']
    found = read(tmp_path, f"command = {[*words[:2], '${HOME} ${model} {1,2} {}']}")
    assert found.problems == ()
    assert fill(a_profile(tuple(words)), model="m") == tuple(words)


def test_placeholders_are_filled_once() -> None:
    profile = a_profile(
        ("{python}", "{agents}/x.py", "--at={workspace}:{task}", "{prompt}"),
        folder="/profiles",
        env={"W": "{workspace}", "T": "{task}/{attempt}"},
    )
    values = {
        "prompt": "{workspace} {python} $(rm -rf) {prompt}",
        "workspace": "/w/{task}",
        "task": "t",
        "attempt": "t.1",
    }
    assert fill(profile, **values) == (
        sys.executable,
        "/profiles/x.py",
        "--at=/w/{task}:t",
        values["prompt"],
    )
    assert env_of(profile, **values) == {"W": "/w/{task}", "T": "t/t.1"}


def test_files_are_filled_in_and_keep_the_braces_of_their_own(tmp_path: Path) -> None:
    text = (
        'command = ["a"]\napi = ["openai"]\n[files]\n'
        """"x.json" = '{"url": "{proxy}/v1", "key": "{token}", """
        """"m": {"{model}": ["{workspace}"]}, """
        """"other": "{prompt} {task} {python} {nothing} ${token}"}'\n"""
    )
    found = read(tmp_path, text)
    assert found.problems == ()
    values = {"proxy": "P{token}", "token": "T", "model": "M", "workspace": "W"}
    assert files_of(found.by_name["tool"], prompt="no", task="no", **values) == {
        "x.json": '{"url": "P{token}/v1", "key": "T", "m": {"M": ["W"]}, '
        '"other": "{prompt} {task} {python} {nothing} ${token}"}'
    }


def test_only_the_proxy_may_have_what_the_configuration_calls_a_key(tmp_path: Path) -> None:
    own = tmp_path / "agents"
    own.mkdir()
    (own / "tool.toml").write_text('command = ["a"]\npass_env = ["OPENAI_BASE_URL", "WORK_KEY"]')
    assert load(tmp_path / "shipped", own).problems == ()
    (problem,) = load(tmp_path / "shipped", own, {"WORK_KEY"}).problems
    assert problem.where == "agents/tool.toml:2"
    assert "item 2, 'WORK_KEY', is a key, which only the proxy holds" in problem.what


@pytest.mark.parametrize(
    ("command", "without"),
    [
        (("a", "--model", "{model}", "-p"), ("a", "-p")),
        (("a", "--model={model}", "-p"), ("a", "-p")),
        (("a", "{model}", "-p"), ("a", "-p")),
        (("a", "-v", "m={model}"), ("a", "-v")),
    ],
)
def test_without_a_model_the_word_for_it_is_left_out(
    command: tuple[str, ...], without: tuple[str, ...]
) -> None:
    assert fill(a_profile(command), model="") == without
    assert len(fill(a_profile(command), model="m")) == len(command)


def test_missing_programs_are_named(tmp_path: Path) -> None:
    (tmp_path / "there").touch(mode=0o755)
    (tmp_path / "plain").touch(mode=0o644)
    here = str(tmp_path)
    assert missing_program(a_profile(("there",)), here) == ""
    assert missing_program(a_profile(("plain",)), here) == "plain"
    assert missing_program(a_profile(("gone",)), here) == "gone"
    assert missing_program(a_profile((f"{here}/there",)), "") == ""
    assert missing_program(a_profile((f"{here}/plain",)), "") == f"{here}/plain"
    assert missing_program(a_profile(("./in-the-workspace",)), "") == ""
    script = ("{python}", "{agents}/there")
    assert missing_program(a_profile(script, folder=here), "") == ""
    assert missing_program(a_profile(script, folder="/nowhere"), "") == "/nowhere/there"
