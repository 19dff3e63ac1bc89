"""Where checks run: a clean checkout of one tree, a gate slot, private folders; gone afterwards.

At most `slots` gates run at once on one machine, whoever asks: the slots are flocks, so a killed
gate frees its own. Nothing of an earlier run is in a checkout, and nothing of it is kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from fleet.core.report import CheckRun
from fleet.gate.checks import Check, Tools
from fleet.gate.runner import run_checks
from fleet.process.bounds import Bounds
from fleet.process.sandbox.sandbox import NO_WALLS, Sandbox
from fleet.repo.hub import Hub
from fleet.repo.raze import raze
from fleet.store import aside
from fleet.store.claims import Held, is_held, try_hold
from fleet.store.layout import Layout
from fleet.store.space import free, refused

FULL_BYTES = 2_000_000
SLOT_POLL_S, SHORTEST_POLL_S = 0.1, 0.005


class Interrupted(Exception):
    """The caller was told to stop while the gate was at work. Nothing was decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf a gate runs."""

    mark: str  # carried by every process of it, so that a sweep finds them
    stopped: Callable[[], str | None]  # why it must end now
    first: bool = False  # goes before others: what it proves is what they wait for

    def check(self) -> None:
        reason = self.stopped()
        if reason is not None:
            raise Interrupted(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRoom:
    hub: Hub
    layout: Layout
    tools: Tools
    timeout_s: float  # for each check
    slots: int
    sandbox: Sandbox = NO_WALLS
    bounds: Bounds | None = None  # of each check

    @contextmanager
    def slot(self, by: Caller) -> Iterator[None]:
        """The right to run a gate now. Whoever has waited longer asks more often."""
        ahead = try_hold(self.layout.gate_first) if by.first else None
        try:
            slot = self._wait_for_slot(by)
        finally:
            if ahead is not None:
                ahead.release()
        with slot:
            yield

    @contextmanager
    def open(self, tree: str, by: Caller) -> Iterator[Checkout]:
        """A fresh checkout of `tree`, for somebody who has a slot."""
        with refused(self.layout.workspaces):
            folder = aside.make(self.layout.workspaces, "gate")
        try:
            place = folder / "checkout"
            place.mkdir(mode=0o700)
            self.hub.materialise(tree, place)
            yield Checkout(self, place, by)
        finally:
            raze(folder)

    def _wait_for_slot(self, by: Caller) -> Held:
        pause, began = threading.Event(), time.monotonic()
        while True:
            if by.first or not is_held(self.layout.gate_first):
                for number in range(self.slots):
                    held = try_hold(self.layout.gate_slot(number))
                    if held is not None:
                        return held
            by.check()
            pause.wait(max(SLOT_POLL_S / (1 + time.monotonic() - began), SHORTEST_POLL_S))


class Checkout:
    """One clean checkout while it is there."""

    def __init__(self, room: CleanRoom, place: Path, by: Caller) -> None:
        self._room = room
        self._place = place
        self._by = by
        self._scratch = (place.with_name(f"scratch-{number}") for number in count())

    def has(self, path: str) -> bool:
        return (self._place / path).is_file()

    def run(
        self, checks: Sequence[Check], *, only_tests: Sequence[str] | None = None
    ) -> tuple[CheckRun, ...]:
        scratch = next(self._scratch)
        scratch.mkdir(mode=0o700)
        runs = run_checks(
            checks,
            self._room.tools,
            self._place,
            scratch,
            mark=self._by.mark,
            wall_s=self._room.timeout_s,
            should_stop=self._by.stopped,
            sandbox=self._room.sandbox,
            only_tests=only_tests,
            bounds=self._room.bounds,
        )
        self._by.check()
        return tuple(map(self._excused, runs))

    def _excused(self, run: CheckRun) -> CheckRun:
        """On a disk that is full a check that fails says nothing of the change."""
        if (run.complete and run.passed) or free(self._place) >= FULL_BYTES:
            return run
        return replace(run, complete=False, passed=False, note="the disk is full")
