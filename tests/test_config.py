from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fleet.config import Config, LogFormat, OnProtected, Suppressions, load
from fleet.core.errors import ConfigError
from fleet.core.globs import matches

EVERYTHING = """\
[fleet]
agents = 8
agent = "claude"
target = "main"
tasks = "work/tasks"
timeout = "1h"
no_progress = 120
max_attempts = 5
retry_delay = 0.5
retry_delay_cap = "1m"

[workspace]
root = "~/rooms"
setup = ["uv sync"]
lock_files = ["uv.lock"]
keep = true

[gate]
commands = ["pytest -x"]
python = ".venv/bin/python"
timeout = "5m"
retries = 0
protected = ["x/**"]
on_protected = "refuse"
max_file_mb = 5
suppressions = "allow"
max_processes = 50
max_memory_mb = 2000
max_disk_mb = 300
min_free_mb = 0
slots = 3

[landing]
batch = 1
"""


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    (tmp_path / "fleet.toml").write_text(text)
    return load(tmp_path, {"HOME": "/home/me", **environ})


def problems(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    """Of each place, what is wrong and what to do."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **environ)
    assert all(problem.fix for problem in caught.value.problems)
    return {p.where: f"{p.what} | {p.fix}" for p in caught.value.problems}


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, {"HOME": "/home/me", "PATH": "/bin"})
    fleet, gate = config.fleet, config.gate
    assert (fleet.agents, fleet.agent, fleet.target, fleet.tasks) == (4, "", "", "tasks")
    assert (fleet.timeout_s, fleet.no_progress_s, fleet.max_attempts) == (1800, 600, 3)
    assert (fleet.retry_delay_s, fleet.retry_delay_cap_s) == (5, 300)
    assert config.workspace.root == ""
    assert config.workspace.lock_files[0] == "uv.lock"
    assert config.workspace.keep is False
    assert gate.commands == ("pytest", "ruff check .")
    assert (gate.timeout_s, gate.retries, gate.max_file_mb) == (600, 2, 100)
    assert gate.on_protected is OnProtected.RESTORE
    assert gate.suppressions is Suppressions.REFUSE
    assert (gate.max_processes, gate.max_disk_mb, gate.min_free_mb) == (1000, 10_000, 200)
    assert gate.max_memory_mb >= 256
    assert gate.slots == max(1, len(os.sched_getaffinity(0)) // 2)
    assert config.landing.batch == 5
    assert config.env.path == "/bin"
    assert config.env.cache == "/home/me/.cache/fleet"
    assert config.env.log_format is LogFormat.TEXT


def test_everything_can_be_set(tmp_path: Path) -> None:
    config = read(tmp_path, EVERYTHING)
    fleet, workspace, gate = config.fleet, config.workspace, config.gate
    assert (fleet.agents, fleet.agent, fleet.target) == (8, "claude", "main")
    assert (fleet.tasks, fleet.timeout_s, fleet.no_progress_s) == ("work/tasks", 3600, 120)
    assert (fleet.max_attempts, fleet.retry_delay_s, fleet.retry_delay_cap_s) == (5, 0.5, 60)
    assert (workspace.root, workspace.setup) == ("/home/me/rooms", ("uv sync",))
    assert (workspace.lock_files, workspace.keep) == (("uv.lock",), True)
    assert (gate.commands, gate.python, gate.timeout_s) == (
        ("pytest -x",),
        ".venv/bin/python",
        300,
    )
    assert (gate.retries, gate.protected, gate.max_file_mb, gate.slots) == (0, ("x/**",), 5, 3)
    assert gate.on_protected is OnProtected.REFUSE
    assert gate.suppressions is Suppressions.ALLOW
    assert (gate.max_processes, gate.max_memory_mb) == (50, 2000)
    assert (gate.max_disk_mb, gate.min_free_mb) == (300, 0)
    assert config.landing.batch == 1


def test_all_problems_come_at_once_in_order(tmp_path: Path) -> None:
    text = """\
[fleet]
agents = 0
agnet = "x"
timeout = "soon"
no_progress = inf
max_attempts = true
retry_delay = 600
tasks = "../tasks"
target = "-x"

[workspace]
root = "here"
setup = "uv sync"
lock_files = ["/etc/x"]
keep = 1

[gate]
commands = ["pytest", ""]
timeout = "8d"
retries = 99
protected = ["../x"]
on_protected = "ignore"
max_file_mb = 0
slots = -1

[landing]
batch = 21

[poxy]
port = 1
"""
    found = problems(
        tmp_path,
        text,
        LOG_FORMAT="jsn",
        FLEET_GATE_PYTHN="x",
        FLEET_LANDING_BATCH="many",
    )
    lines = [2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 18, 19, 20, 21, 22, 23, 24, 29]
    variables = ["FLEET_GATE_PYTHN", "FLEET_LANDING_BATCH", "LOG_FORMAT"]
    assert list(found) == [*variables, *(f"fleet.toml:{line}" for line in lines)]
    assert "did you mean 'agent'?" in found["fleet.toml:3"]
    assert "did you mean 'python'?" in found["FLEET_GATE_PYTHN"]
    assert "did you mean 'json'?" in found["LOG_FORMAT"]
    assert "unknown section 'poxy' | did you mean 'proxy'?" in (found["fleet.toml:29"])


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("[fleet\n", "fleet.toml:1", "not valid TOML"),
        ("agents = 4\n", "fleet.toml:1", "unknown section 'agents'"),
        ("fleet = 4\n", "fleet.toml:1", "must be a table"),
        ("[[gate]]\nslots = 1\n", "fleet.toml:1", "must be a table"),
        ("[flet]\nagents = 4\n", "fleet.toml:1", "did you mean 'fleet'?"),
        ("a = " + "[" * 99, "fleet.toml:1", "32 deep"),
    ],
)
def test_a_file_of_another_shape_is_refused(
    tmp_path: Path, text: str, where: str, words: str
) -> None:
    assert words in problems(tmp_path, text)[where]


def test_many_agents_need_force(tmp_path: Path) -> None:
    text = "[fleet]\nagents = 101\n"
    assert "--force" in problems(tmp_path, text)["fleet.toml:2"]
    assert load(tmp_path, {}, force=True).fleet.agents == 101
    assert read(tmp_path, text.replace("101", "100")).fleet.agents == 100


def test_workspaces_inside_the_repository_are_refused(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "x" / ".." / "y"):
        found = problems(tmp_path, f'[workspace]\nroot = "{root}"\n')
        assert "inside the repository" in found["fleet.toml:2"]
    read(tmp_path, f'[workspace]\nroot = "{tmp_path}/../elsewhere"\n')


def test_the_environment_wins_and_is_typed(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        EVERYTHING,
        FLEET_FLEET_AGENTS="2",
        FLEET_FLEET_TARGET="1.0",
        FLEET_FLEET_TIMEOUT="2m",
        FLEET_FLEET_NO_PROGRESS="30",
        FLEET_WORKSPACE_KEEP="false",
        FLEET_GATE_COMMANDS='["pytest", "mypy"]',
        FLEET_GATE_PROTECTED="a/**",
        FLEET_GATE_ON_PROTECTED="restore",
        FLEET_GATE_RETRIES="",
        LOG_FORMAT="JSON",
    )
    assert (config.fleet.agents, config.fleet.target) == (2, "1.0")
    assert (config.fleet.timeout_s, config.fleet.no_progress_s) == (120, 30)
    assert config.workspace.keep is False
    assert config.gate.commands == ("pytest", "mypy")
    assert config.gate.protected == ("a/**",)
    assert config.gate.on_protected is OnProtected.RESTORE
    assert config.gate.retries == 0  # an empty variable says nothing
    assert config.env.log_format is LogFormat.JSON


def test_a_wrong_variable_is_named_and_the_file_is_not_blamed(tmp_path: Path) -> None:
    found = problems(tmp_path, EVERYTHING, FLEET_FLEET_AGENTS="2.5", FLEET_GATE_TIMEOUT="nan")
    assert list(found) == ["FLEET_FLEET_AGENTS", "FLEET_GATE_TIMEOUT"]


def test_variables_that_fleet_sets_for_agents_are_no_settings(tmp_path: Path) -> None:
    names = ("ATTEMPT", "ATTEMPT_NUMBER", "TASK", "EPOCH", "WORKSPACE", "GATE", "WORKER", "RUN_ID")
    read(tmp_path, "", **{f"FLEET_{name}": "x" for name in names})


def test_only_named_variables_are_passed_on_and_none_is_shown(tmp_path: Path) -> None:
    config = read(tmp_path, "", TOKEN="s3cret", OTHER="x")
    assert config.env.passed(["TOKEN", "MISSING"]) == {"TOKEN": "s3cret"}
    assert "s3cret" not in repr(config)


def test_a_relative_cache_folder_is_ignored_as_its_standard_asks(tmp_path: Path) -> None:
    assert read(tmp_path, "", XDG_CACHE_HOME="/c").env.cache == "/c/fleet"
    assert read(tmp_path, "", XDG_CACHE_HOME="c").env.cache == "/home/me/.cache/fleet"


def test_only_a_plain_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="not a regular file"):
        load(tmp_path, {})
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="symbolic link"):
        load(tmp_path, {})
    file.unlink()
    file.mkdir()
    assert stat.S_ISDIR(file.stat().st_mode)
    with pytest.raises(ConfigError, match="not a regular file"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    "path",
    [
        "conftest.py",
        "tests/deep/conftest.py",
        "pyproject.toml",
        "lib/pyproject.toml",
        "pytest.ini",
        ".pytest.ini",
        "tox.ini",
        "x/setup.cfg",
        ".ruff.toml",
        ".github/workflows/ci.yml",
        "fleet.toml",
        "tasks/a.toml",
        "agents/claude.toml",
        ".claude/settings.json",
        ".mcp.json",
        ".codex/config.toml",
        "mypy.ini",
        ".coveragerc",
        "pytest.toml",
        "sitecustomize.py",
        "tests/pyvenv.cfg",
        "x.egg-info/entry_points.txt",
        "pkg/__pycache__/m.cpython-311.pyc",
        ".mypy_cache/3.11/cache.db",
    ],
)
def test_what_decides_about_work_is_protected(tmp_path: Path, path: str) -> None:
    assert matches(path, load(tmp_path, {}).gate.protected)


@pytest.mark.parametrize("path", ["src/app.py", "agents/mini.py", "docs/tasks.md", "ruff.tomlx"])
def test_other_files_are_not(tmp_path: Path, path: str) -> None:
    assert not matches(path, load(tmp_path, {}).gate.protected)
