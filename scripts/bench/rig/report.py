"""Tables for people, and the same for programs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

Figures = dict[str, dict[str, object]]  # of each lane


class Report:
    def __init__(self) -> None:
        self._all: dict[str, object] = {}

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        whole = [list(columns), *map(list, rows)]
        widths = [max(len(row[at]) for row in whole) for at in range(len(columns))]
        print(f"\n{title}")
        for row in whole:
            rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            print("  " + "  ".join([row[0].ljust(widths[0]), *rest]), flush=True)

    def keep(self, measure: str, figures: object) -> None:
        self._all[measure] = figures

    def absent(self, why: Mapping[str, str]) -> None:
        self.keep("not measured", dict(why))
        for name, reason in why.items():
            print(f"\nnot measured: {name}: {reason}")

    def write(self, path: Path | None) -> None:
        if path is not None:
            path.write_text(json.dumps(self._all, indent=2, default=list) + "\n")


def options(about: str) -> argparse.ArgumentParser:
    """What both scripts take."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="seconds, and figures to match")
    parser.add_argument("--rounds", type=int, help="turns of every lane")
    parser.add_argument("--lanes", type=_names, help="names, with commas between")
    parser.add_argument("--peers-dir", type=Path, default=cache / "fleet-bench")
    parser.add_argument("--own-load", action="store_true", help="also where wrk is installed")
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def stop_on_term() -> None:
    """TERM unwinds as Ctrl-C does, so that what was started is ended."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and between what it lies."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratios(ours: Sequence[float], base: Sequence[float] | None) -> list[float]:
    """Round by round: what drifts between rounds drops out."""
    return [a / b for a, b in zip(ours, base, strict=True) if b] if base else []


def ms(seconds: float, digits: int = 2) -> str:
    return f"{seconds * 1000:.{digits}f}"
