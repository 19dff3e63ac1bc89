"""A first fleet.toml for a repository, from the files it has."""

from __future__ import annotations

import shutil
from pathlib import Path

KNOWN_AGENTS = ("claude", "codex", "opencode", "gemini", "qwen", "aider")


def propose(top: Path, *, search: str | None = None) -> str:
    """The text of a fleet.toml: every value in it works here, or is commented out with why."""
    commands = _commands(top)
    found = [name for name in KNOWN_AGENTS if shutil.which(name, path=search)]
    lines = [
        "# How fleet works on this repository. What is left out has its default;",
        "# every key: docs/configuration.md.",
        "",
        "[fleet]",
        "agents = 4",
        'agent = "command"  # tasks whose prompt has a line "$ program arguments"',
    ]
    if found:
        lines.append(f"# found on PATH, each needs a profile in agents/: {', '.join(found)}")
    lines += [
        "",
        "[gate]",
        "# What must pass on the merge result. pytest and ruff are compared with the base by id.",
        f"commands = [{', '.join(_quoted(command) for command in commands)}]",
    ]
    if not commands:
        lines.append("# nothing found here that could prove a change: name your test command")
    return "\n".join(lines) + "\n"


def _commands(top: Path) -> list[str]:
    commands = []
    if any(top.glob("test*")) or any(top.glob("**/test_*.py")):
        commands.append("pytest")
    configured = (top / "ruff.toml").exists() or (top / ".ruff.toml").exists()
    pyproject = top / "pyproject.toml"
    if configured or (
        pyproject.exists() and "[tool.ruff" in pyproject.read_text("utf-8", "replace")
    ):
        commands.append("ruff check .")
    if not commands and (top / "package.json").exists():
        commands.append("npm test")
    if not commands and (top / "Makefile").exists():
        commands.append("make test")
    return commands


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
