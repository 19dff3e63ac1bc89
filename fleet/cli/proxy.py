"""`fleet proxy`: run the proxy by hand, and what its traffic came to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import say, say_json, table
from fleet.core.errors import UsageError

app = typer.Typer(
    help="The proxy of all model traffic; without a command it runs here until Ctrl-C."
)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    *,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="0 is fleet.toml's, else a free one.")
    ] = 0,
    record: Annotated[
        Path | None, typer.Option("--record", help="Keep every model exchange in this folder.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", help="Answer from such a folder; no provider.")
    ] = None,
) -> None:
    """Run it alone, in the foreground, until Ctrl-C. `fleet run` starts its own."""
    if context.invoked_subcommand is not None:
        return
    if record and replay:
        raise UsageError("--record and --replay: choose one")
    if replay and not replay.is_dir():
        raise UsageError(f"--replay {replay}: there is no such folder")
    from fleet.proxy.service import main_by_hand

    code = main_by_hand(
        Path.cwd(),
        os.environ,
        port=port or None,
        record=record and record.absolute(),
        replay=replay and replay.absolute(),
    )
    raise typer.Exit(code)


@app.command()
def stats(
    *,
    task: Annotated[str, typer.Option("--task", help="Only what this task asked for.")] = "",
    since: Annotated[str, typer.Option("--since", help='Only the last "90s", "30m", "1h".')] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Requests in, calls out, what was shared, what was used, what it cost and what it saved."""
    import contextlib
    import time

    from fleet.cli.length import length_s
    from fleet.cli.opening import view
    from fleet.faces.traffic import MODEL_HEAD, as_data, model_row, page
    from fleet.store import proxyfile
    from fleet.store.traffic import By, bypasses, open_calls, totals, totals_by

    after = time.time() - length_s(since) if since else None
    layout = view().layout
    live = proxyfile.live(layout)
    with contextlib.closing(open_calls(layout.calls_database)) as db:
        found = totals(db, task=task or None, since=after)
        reasons = bypasses(db, task=task or None, since=after)
        models = totals_by(db, By.MODEL, task=task or None, since=after)
    if as_json:
        data = as_data(found, reasons)
        data["by_model"] = {name: as_data(each) for name, each in models.items()}
        data["proxy"] = {"port": live.port, "metrics_port": live.metrics_port} if live else None
        say_json(data)
        return
    say(f"the proxy listens on {live.url}" if live else "no proxy runs")
    if not found.requests and not found.calls:
        say("no model traffic" + (" of this kind" if task or since else " yet"))
        return
    for line in page(found, reasons):
        say(line)
    say("")
    table(MODEL_HEAD, [model_row(name, each) for name, each in models.items()])
