"""`fleet log TASK`: what an agent said, and what became of it."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from fleet.cli.output import say

POLL_S = 0.2


def log(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    attempt: Annotated[int, typer.Option(help="An attempt's number; the newest if left out.")] = 0,
    events: Annotated[
        bool, typer.Option("--events", help="The story instead of the output.")
    ] = False,
) -> None:
    """The output of a task's newest attempt, or with --events everything that happened to it."""
    from fleet.cli.opening import view
    from fleet.core.errors import UsageError
    from fleet.faces.render import event_line
    from fleet.process.transcript import plain, read
    from fleet.store.claims import is_held
    from fleet.store.events import of_task

    seen = view()
    entry = seen.task(task)
    if events:
        for event in of_task(seen.view.db, task):
            line = event_line(event)
            if line is not None:
                say(line)
        return
    epoch = attempt or entry.epoch
    path = seen.layout.transcript(entry.task.id, epoch)
    if not path.exists() and not follow:
        raise UsageError(
            f"task {task!r} has no output yet" + (f" of attempt {epoch}" if epoch else "")
        )
    shown = 0
    lock = seen.layout.claim_lock(entry.task.id)
    while True:
        live = is_held(lock)
        text = read(path) if path.exists() else b""
        # The end of a long transcript is kept apart while it grows: only ever show what is new.
        if len(text) > shown:
            typer.echo(plain(text[shown:].decode("utf-8", "replace")), nl=False)
            shown = len(text)
        if not follow or not live:
            return
        threading.Event().wait(POLL_S)
