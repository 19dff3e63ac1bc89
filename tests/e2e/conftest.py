"""A real repository, real processes, the echo agent: only the model is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w

from fleet.store.layout import Layout

FLEET = [sys.executable, "-m", "fleet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository under test and the environment its fleet runs in."""

    path: Path
    env: dict[str, str]

    @property
    def fleet_id(self) -> str:
        common = self.path / ".git"
        return Layout(common_dir=common, top=self.path, cache=self.path).fleet_id

    def git(self, *args: str) -> str:
        return subprocess.run(
            ["git", *args], cwd=self.path, env=self.env, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, name: str, text: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def commit(self, message: str = "change") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def tasks(self, *tasks: Mapping[str, object], name: str = "tasks.toml") -> None:
        self.write(f"tasks/{name}", tomli_w.dumps({"tasks": list(tasks)}, multiline_strings=True))

    def fleet(self, *args: str, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*FLEET, *args],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A fleet command in the background; the caller ends it."""
        return subprocess.Popen(
            [*FLEET, *args],
            cwd=self.path,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def states(self) -> dict[str, str]:
        listed = json.loads(self.fleet("task", "list", "--json").stdout)
        return {entry["id"]: entry["state"] for entry in listed}

    def reason(self, task: str) -> str:
        return str(json.loads(self.fleet("task", "show", task, "--json").stdout)["reason"])

    def audit(self) -> str:
        done = self.fleet("doctor", "--audit")
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def on_main(self, name: str) -> str:
        return self.git("show", f"main:{name}")


CONFIG = """\
[fleet]
agents = {agents}
agent = "echo"
retry_delay = "0.1s"

[gate]
commands = {commands}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def new_repository(tmp_path: Path) -> Repository:
    """A repository whose gate is one quick command: `python check.py`."""
    path = tmp_path / "project"
    path.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "LANG": "C.UTF-8",
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@localhost",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    (tmp_path / "home").mkdir()
    made = Repository(path=path, env=env)
    made.git("init", "-q", "-b", "main")
    made.write("fleet.toml", CONFIG.format(agents=2, commands='["python3 check.py"]'))
    made.write("check.py", CHECK)
    made.write("base.txt", "base\n")
    made.commit("first")
    return made


# The gate of most tests here: every file named *.txt must not hold the word "bad", and if any
# file says "needs NAME" then the file NAME must be there.
CHECK = """\
import pathlib, sys
texts = {p.name: p.read_text() for p in pathlib.Path(".").rglob("*.txt")}
for name, text in texts.items():
    if "bad" in text:
        sys.exit(f"{name} is bad")
    for line in text.splitlines():
        if line.startswith("needs ") and line.split()[1] not in texts:
            sys.exit(f"{name} needs {line.split()[1]}")
"""


def writes(name: str, text: str, *more: str) -> str:
    """A prompt for the echo agent."""
    return "\n".join([f"@write {name}", text, "@end", *more])
