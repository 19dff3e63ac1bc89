"""`fleet agent`: which agents there are, and whether they can start."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.output import say, say_json, table
from fleet.core.errors import Exit, UsageError

app = typer.Typer(no_args_is_help=True, help="The agents this fleet can start.")


@app.command("list")
def list_(
    *, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Every profile, shipped or yours, and whether its program is on PATH."""
    from fleet.cli.opening import view
    from fleet.store.profiles import missing_program

    seen = view()
    rows = [
        (
            name,
            "no" if missing_program(profile, seen.config.env.path) else "yes",
            profile.source,
            " ".join(profile.command),
        )
        for name, profile in sorted(seen.profiles().items())
    ]
    if as_json:
        say_json(
            [
                {"name": name, "found": found == "yes", "source": source, "command": command}
                for name, found, source, command in rows
            ]
        )
    else:
        table(("AGENT", "FOUND", "PROFILE", "COMMAND"), rows)


@app.command()
def check(name: Annotated[str, typer.Argument(help="All of them if left out.")] = "") -> None:
    """Whether an agent's program is there and can be started."""
    from fleet.cli.opening import view
    from fleet.store.profiles import missing_program

    seen = view()
    profiles = seen.profiles()
    if name and name not in profiles:
        raise UsageError(f"there is no agent {name!r}; there are {', '.join(sorted(profiles))}")
    missing = 0
    for profile in [profiles[name]] if name else profiles.values():
        lacking = missing_program(profile, seen.config.env.path)
        say(f"{profile.name}: " + (f"{lacking!r} is not on PATH" if lacking else "can be started"))
        missing += bool(lacking)
    if missing:
        raise typer.Exit(Exit.SOME_FAILED)
