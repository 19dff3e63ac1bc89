"""How commands speak: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import typer

from fleet.process.transcript import plain


def say(text: str) -> None:
    """A line for a person, with nothing in it that could drive the terminal."""
    typer.echo(plain(text))


def say_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be; the last one is cut to the terminal."""
    if not rows:
        return
    cells = [[plain(cell).replace("\n", " ") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    room = _width() - sum(widths[:-1]) - 2 * (len(head) - 1)
    for row in cells:
        last = row[-1] if len(row[-1]) <= room else row[-1][: max(10, room - 1)] + "…"
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), ""][:-1])  # noqa: B905
        typer.echo((line[: sum(widths[:-1]) + 2 * (len(head) - 1)] + last).rstrip())


def is_terminal() -> bool:
    return sys.stdout.isatty()


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((160, 24)).columns
