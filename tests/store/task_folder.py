"""A tasks folder, a good file for it, and what loading it complained of."""

from __future__ import annotations

from pathlib import Path

from fleet.store.taskfiles import TaskFiles

GOOD = """\
[[tasks]]
id = "one"
prompt = "Do it"
title = "One"
priority = 0
depends_on = ["two", "two"]
agent = "claude"
model = "m"
paths = ["src/**", "docs"]
timeout = "1h30m"
max_attempts = 5
budget_usd = 2
gate = ["mypy --strict src"]
labels = ["x"]
tests = "may-change"

[[tasks]]
id = "two"
prompt = "First"
"""


def a_file(folder: Path, text: str | bytes, name: str = "a.toml") -> Path:
    tasks = folder / "tasks"
    tasks.mkdir(exist_ok=True)
    raw = text.encode() if isinstance(text, str) else text
    (tasks / name).write_bytes(raw)
    return tasks


def said(files: TaskFiles) -> str:
    return "\n".join(str(problem) for problem in files.problems)
