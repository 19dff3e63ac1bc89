"""`fleet doctor`: is everything there that a fleet needs, and has it kept its promises?"""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.output import say, say_json
from fleet.core.errors import Exit


def doctor(
    *,
    audit: Annotated[bool, typer.Option("--audit", help="Check ledger and refs offline.")] = False,
    agents: Annotated[
        bool, typer.Option("--agents", help="Try the agents of the tasks out, as `agent check`.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is there, what is missing, and what to do about it. Exit code 1 if anything is."""
    from fleet.cli import examination

    findings = list(examination.audited() if audit else examination.examined())
    if agents:
        findings += examination.tried()
    if as_json:
        say_json([{"ok": ok, "what": what} for ok, what in findings])
    else:
        for ok, what in findings:
            say(f"{'ok ' if ok else 'BAD'}  {what}")
    if not all(ok for ok, _ in findings):
        raise typer.Exit(Exit.SOME_FAILED)
