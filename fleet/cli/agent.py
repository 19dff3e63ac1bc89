"""`fleet agent`: which agents there are, and whether they can start."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.output import say, say_json, table
from fleet.core.errors import Exit, UsageError
from fleet.core.profile import Profile

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
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Left out: all there are.")
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Only look whether it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Try agents out: real runs of the real program on a scratch repository, with a scripted model.

    Nothing of yours is touched, and no provider is asked. Takes up to a minute an agent. Exit
    code 1 if anything a fleet relies on fails.
    """
    from fleet.cli.opening import view
    from fleet.store.profiles import missing_program

    seen = view()
    profiles = seen.profiles()
    for name in names or ():
        if name not in profiles:
            raise UsageError(f"there is no agent {name!r}; there are {', '.join(sorted(profiles))}")
    there = [
        profile
        for name, profile in sorted(profiles.items())
        if (name in names if names else not missing_program(profile, seen.config.env.path))
    ]
    well = True
    for profile in there:
        well = (_looked_at if quick else _tried)(profile, seen.config.env.path, as_json) and well
    if not well:
        raise typer.Exit(Exit.SOME_FAILED)


def _looked_at(profile: Profile, path: str, as_json: bool) -> bool:
    from fleet.store.profiles import missing_program

    lacking = missing_program(profile, path)
    if as_json:
        say_json({"agent": profile.name, "found": not lacking})
    else:
        said = f"{lacking!r} is not on PATH" if lacking else "can be started"
        say(f"{profile.name}: {said}")
    return not lacking


def _tried(profile: Profile, path: str, as_json: bool) -> bool:
    import os
    import tempfile
    from pathlib import Path

    from fleet.trial import Trial, Verdict

    found = []
    with tempfile.TemporaryDirectory(prefix="fleet-trial-") as folder:
        trial = Trial(profile, {**os.environ, "PATH": path}, Path(folder))
        if not as_json:
            say(profile.name)
        for finding in trial.findings():
            found.append(finding)
            if not as_json:
                say(f"  {finding.part:<8} {finding.verdict:<8} {finding.what}")
        if as_json:
            say_json(
                {
                    "agent": profile.name,
                    "findings": [
                        {"part": each.part, "verdict": each.verdict, "what": each.what}
                        for each in found
                    ],
                    "requests": [request.shown for request in trial.requests],
                }
            )
        else:
            for request in trial.requests:
                say(f"  request  {request.shown}")
    return all(each.verdict is not Verdict.FAILS for each in found)
