"""`fleet steer TASK "message"`: a word to an agent at work."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import say
from fleet.core.errors import UsageError
from fleet.core.note import Via
from fleet.core.profile import Profile, SteerBy

_HOW = {
    Via.PROXY: "with its next question to the model",
    Via.STDIN: "on its stdin, after what it does now",
}


def steer(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    message: Annotated[str, typer.Argument(help="What it is told; - reads it from stdin.")],
) -> None:
    """Tell the agent of a running task something. It goes on with what it does, and knows it."""
    from fleet.store import notes
    from fleet.store.claims import is_held
    from fleet.wiring import open_fleet

    fleet = open_fleet(Path.cwd(), os.environ)
    text = notes.checked(_from_stdin() if message == "-" else message)

    def via(agent: str) -> Via:
        if not is_held(fleet.layout.claim_lock(task)):
            raise UsageError(f"the worker of task {task!r} has died: it will be tried again")
        return way_to(agent, fleet.profiles)

    agent, epoch, way = notes.write(fleet.db, task, text, via, now=time.time())
    say(f"noted: it reaches {agent} ({task}.{epoch}) {_HOW[way]}")


def way_to(agent: str, profiles: Mapping[str, Profile]) -> Via:
    """How a note gets to an agent; refuses where none does."""
    profile = profiles.get(agent)
    if profile is None:
        raise UsageError(f"agent {agent!r} has no profile any more: see `fleet agent list`")
    if profile.steer is SteerBy.NONE:
        raise UsageError(f'agent {agent!r} cannot be steered: its profile says steer = "none"')
    if profile.steer is SteerBy.STDIN:
        return Via.STDIN
    if not profile.api:
        raise UsageError(f"agent {agent!r} cannot be steered: it asks no model")
    return Via.PROXY


def _from_stdin() -> str:
    import sys

    from fleet.store.notes import LONGEST

    data = sys.stdin.buffer.read(8 * LONGEST)  # more than can be taken is refused for its length
    return data.decode("utf-8", "surrogateescape")
