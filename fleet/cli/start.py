"""`fleet init`: a first fleet.toml and tasks folder, from what the repository looks like."""

from __future__ import annotations

from pathlib import Path

from fleet.cli.output import say
from fleet.core.errors import UsageError

TASKS = """\
# Tasks, most urgent first. Every key but id and prompt may be left out.
# Add one with: fleet task add "what to do"
tasks = []
"""


def init() -> None:
    """Write fleet.toml and tasks/ here; never over files that are there."""
    from fleet.repo.git import locate
    from fleet.store.files import write_private
    from fleet.store.proposal import propose

    top = locate(Path.cwd()).top
    if top is None:
        raise UsageError("this is a bare repository: run fleet init in a checkout of it")
    target = top / "fleet.toml"
    if target.exists():
        raise UsageError(f"{target} is there already: edit it, or move it away")
    write_private(target, propose(top).encode(), mode=0o644)
    say(f"wrote {target}")
    folder = top / "tasks"
    if not folder.exists() and not (top / "tasks.toml").exists():
        write_private(folder / "tasks.toml", TASKS.encode(), mode=0o644)
        folder.chmod(0o755)
        say(f"wrote {folder / 'tasks.toml'}")
    say("next: fleet task add '$ ruff check --fix .' (or any program), fleet doctor, fleet run")
