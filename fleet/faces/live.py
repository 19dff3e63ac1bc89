"""A run while it goes on: a live table on a terminal, plain lines in a pipe, JSON for programs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fleet.core.event import Event
from fleet.core.state import Counts, TaskView
from fleet.faces.render import event_line
from fleet.process.transcript import plain

RECENT = 8
Snapshot = Callable[[], tuple[Counts, list[TaskView]]]


class Screen(Protocol):
    """Where the events of a run are shown."""

    def tell(self, event: Event) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Lines:
    """One line an event: for a pipe, a log, a CI job."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def tell(self, event: Event) -> None:
        line = event.as_json() if self._as_json else event_line(event)
        if line is not None:
            sys.stdout.write((line if self._as_json else plain(line)) + "\n")
            sys.stdout.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Terminal:
    """Counts, tasks in flight and the newest events, redrawn when something happens."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._live = Live(console=Console(), auto_refresh=False, transient=True)

    def tell(self, event: Event) -> None:
        line = event_line(event)
        if line is not None:
            self._recent.append(plain(line))
        self._live.update(self._picture(), refresh=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.__exit__(None, None, None)

    def _picture(self) -> Group:
        counts, in_flight = self._snapshot()
        head = Text(
            f"{counts.merged}/{counts.total} landed · {counts.open} open · "
            f"{counts.total - counts.open - counts.merged} not landed",
            style="bold",
        )
        table = Table(box=None, pad_edge=False, expand=True)
        for name in ("WORKER", "TASK", "STATE", "WHAT"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for view in in_flight:
            table.add_row(
                view.worker, f"{view.task.id}.{view.epoch}", view.state, plain(view.task.headline)
            )
        recent = Text("\n".join(self._recent), style="dim", no_wrap=True, overflow="ellipsis")
        return Group(head, table, Text(""), recent)


class Unminded:
    """Another screen for as long as somebody looks at it: when a terminal is closed or a reader
    goes away, the run goes on unseen."""

    def __init__(self, seen: Screen) -> None:
        self._seen = seen

    def tell(self, event: Event) -> None:
        with _whoever_looks():
            self._seen.tell(event)

    def __enter__(self) -> Self:
        with _whoever_looks():
            self._seen.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with _whoever_looks():
            self._seen.__exit__(None, None, None)


@contextlib.contextmanager
def _whoever_looks() -> Iterator[None]:
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what is buffered, and all that follows
        os.close(nowhere)


def screen(*, as_json: bool, terminal: bool, snapshot: Snapshot) -> Screen:
    """The right one for where the output goes."""
    if terminal and not as_json:
        return Unminded(Terminal(snapshot))
    return Unminded(Lines(as_json=as_json))
