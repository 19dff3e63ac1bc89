"""`fleet task`: add, list, show, validate, retry, cancel."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import say, say_json, table
from fleet.core.errors import ConfigError, Exit, UsageError
from fleet.core.task import SHOWN, TaskState

app = typer.Typer(no_args_is_help=True, help="Write, list and steer tasks.")
STATES = tuple(dict.fromkeys((*SHOWN.values(), *(state.value for state in TaskState))))
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command(epilog='Example: fleet task add "Add a --json flag to export" --paths "src/cli/**"')
def add(
    prompt: Annotated[str, typer.Argument(help="What the agent is to do; - reads it from stdin.")],
    *,
    id_: Annotated[str, typer.Option("--id", help="Made from the title if left out.")] = "",
    title: Annotated[str, typer.Option(help="One line for lists and commits.")] = "",
    priority: Annotated[int, typer.Option(help="0 is the most urgent.", min=0)] = 1,
    depends_on: Annotated[
        list[str] | None, typer.Option(help="A task that must land first.")
    ] = None,
    paths: Annotated[list[str] | None, typer.Option(help="A glob it may change.")] = None,
    agent: Annotated[str, typer.Option(help="A profile: see fleet agent list.")] = "",
    model: Annotated[str, typer.Option(help="Passed to the agent.")] = "",
    timeout: Annotated[str, typer.Option(help='Such as "30m".')] = "",
    file: Annotated[str, typer.Option(help="The file to append to.")] = "tasks.toml",
) -> None:
    """Append a task to a file of the tasks folder; everything else in it is kept."""
    import sys

    from fleet.cli.opening import view
    from fleet.store.taskedit import append, slug

    seen = view()
    folder = seen.task_folder
    text = sys.stdin.read() if prompt == "-" else prompt
    taken = {task.id for task in seen.files.tasks}
    if Path(file).name != file or not file.endswith(".toml"):
        raise UsageError(f"--file {file!r}: give the name of a .toml file in {folder}")
    fields: dict[str, object] = {"id": id_ or slug(title or text, taken), "prompt": text}
    optional = {
        "title": title,
        "priority": priority if priority != 1 else None,
        "depends_on": depends_on,
        "paths": paths,
        "agent": agent,
        "model": model,
        "timeout": timeout,
    }
    fields |= {key: value for key, value in optional.items() if value}
    if priority == 0:
        fields["priority"] = 0
    named = agent or seen.config.fleet.agent
    if agent and agent not in seen.profiles():
        raise UsageError(f"--agent {agent!r}: there are {', '.join(sorted(seen.profiles()))}")
    if named == "command" and not any(line.startswith("$ ") for line in text.splitlines()):
        say(
            'note: agent "command" runs the line that starts with "$ ", and there is none here: '
            "set another agent, or write what to run"
        )
    if fields["id"] in taken:
        raise UsageError(f"there is a task {fields['id']!r} already: choose another --id")
    unknown = [needed for needed in depends_on or [] if needed not in taken]
    if unknown:
        raise UsageError(f"--depends-on {unknown[0]!r}: there is no such task")
    target = folder if folder.is_file() else folder / file
    append(target, fields)
    say(f"added {fields['id']} to {target}")


@app.command("list")
def list_(
    *,
    state: Annotated[str, typer.Option(help="Only pending, running, completed or failed.")] = "",
    as_json: Json = False,
) -> None:
    """Every task and where it stands. Files with problems are named; the rest is listed."""
    from fleet.cli.opening import view
    from fleet.faces.render import task_row

    if state and state not in STATES:
        raise UsageError(f"--state {state!r}: choose one of {', '.join(STATES)}")
    seen = view()
    views = [entry for entry in seen.tasks() if not state or state in (entry.shown, entry.state)]
    if as_json:
        say_json(
            [
                {
                    **asdict(entry.task),
                    "state": entry.state,
                    "shown": entry.shown,
                    "epoch": entry.epoch,
                    "attempts": entry.attempts,
                    "reason": entry.reason,
                    "landed": entry.landed,
                    "worker": entry.worker,
                }
                for entry in views
            ]
        )
    else:
        table(("STATE", "TASK", "PRIORITY", "TRIES", "WHAT"), [task_row(entry) for entry in views])
        if not views and state:
            say(f"no task is {state}")
        elif not views and not seen.files.problems:
            say(f"no tasks in {seen.task_folder}: add one with `fleet task add`")
    for problem in seen.files.problems:
        typer.echo(f"fleet: {problem}", err=True)
    if seen.files.problems:
        raise typer.Exit(Exit.CONFIG)


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="TASK")], *, as_json: Json = False) -> None:
    """One task: its text, where it stands, and every attempt so far."""
    from fleet.cli.opening import view
    from fleet.faces.render import task_page

    seen = view()
    entry = seen.task(id_)
    attempts = seen.attempts(id_)
    told = seen.stories(attempts)
    if as_json:
        say_json(
            {
                **asdict(entry.task),
                "state": entry.state,
                "reason": entry.reason,
                "landed": entry.landed,
                "attempts": [
                    asdict(attempt) | {"story": story and asdict(story)}
                    for attempt in attempts
                    for story in (told.get(attempt.epoch),)
                ],
            }
        )
        return
    for line in task_page(entry, attempts, told):
        say(line)


@app.command()
def validate() -> None:
    """Check every task file; say all problems at once, with file and line."""
    from fleet.cli.opening import view

    seen = view()
    if seen.files.problems:
        raise ConfigError(seen.files.problems)
    seen.check_agents()
    say(f"{len(seen.files.tasks)} tasks, no problems")


@app.command()
def retry(ids: Annotated[list[str], typer.Argument(metavar="TASK...")]) -> None:
    """Give ended tasks new attempts; what they blocked comes back with them."""
    _each(ids, "retry", "will be tried again")


@app.command()
def cancel(ids: Annotated[list[str], typer.Argument(metavar="TASK...")]) -> None:
    """Take tasks out; a running attempt is stopped and its work kept."""
    _each(ids, "cancel", "is cancelled")


def _each(ids: list[str], verb: str, done: str) -> None:
    import os
    import time

    from fleet.wiring import open_fleet
    from fleet.worker.preflight import take_tasks

    fleet = open_fleet(Path.cwd(), os.environ)
    with contextlib.suppress(ConfigError):
        take_tasks(fleet)  # a task no run has seen yet can be cancelled too
    refused = []
    for id_ in ids:
        change = fleet.roster.retry if verb == "retry" else fleet.roster.cancel
        problem = change(id_, now=time.time())
        if problem:
            refused.append(problem)
        else:
            say(f"{id_} {done}")
    if refused:
        raise UsageError("\n".join(refused))
