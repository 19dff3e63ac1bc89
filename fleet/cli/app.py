"""The `fleet` command: its groups, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated

import typer

import fleet
from fleet.cli import agent, cost, doctor, log, orders, proxy, run, start, status, steer, task
from fleet.core.errors import Exit, FleetError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # half the time of `fleet --help`
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Put many coding agents to work on one repository; land only what is proven good.",
    epilog="Start with: fleet init, fleet task add, fleet run.",
)
app.command("init")(start.init)
app.command("run")(run.run)
app.command("worker")(run.worker)
app.command("status")(status.status)
app.command("pause")(orders.pause)
app.command("resume")(orders.resume)
app.command("stop")(orders.stop)
app.command("steer")(steer.steer)
app.command("log")(log.log)
app.command("cost")(cost.cost)
app.command("doctor")(doctor.doctor)
app.add_typer(task.app, name="task")
app.add_typer(agent.app, name="agent")
app.add_typer(proxy.app, name="proxy")


# What people and scripts ask all the time skips the parser: typer loads pydantic to parse anything,
# which takes longer than the answer.
AT_ONCE: Mapping[tuple[str, ...], Callable[[], None]] = {
    ("task", "list"): task.list_,
    ("task", "list", "--json"): partial(task.list_, as_json=True),
    ("status",): status.status,
    ("status", "--json"): partial(status.status, as_json=True),
    ("cost",): cost.cost,
    ("cost", "--json"): partial(cost.cost, as_json=True),
    ("proxy", "stats"): proxy.stats,
    ("proxy", "stats", "--json"): partial(proxy.stats, as_json=True),
}


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"fleet {fleet.__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda v: _version(wanted=v), is_eager=True)
    ] = False,
) -> None:
    """Put many coding agents to work on one repository; land only what is proven good."""


def main() -> None:
    """Run a command; a `FleetError` is a message and an exit code, never a traceback."""
    try:
        at_once = AT_ONCE.get(tuple(sys.argv[1:]))
        if at_once is None:
            app()
        else:
            at_once()
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except FleetError as error:
        sys.stderr.write(f"fleet: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`fleet log | head`): nothing is wrong.
        sys.stderr.close()
        sys.exit(Exit.OK)
    except OSError as error:
        sys.stderr.write(f"fleet: {error.filename or 'output'}: {error.strerror}\n")
        os._exit(Exit.IO)  # flushing what could not be written would fail again
