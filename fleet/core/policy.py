"""What may run next, and what becomes of an attempt that did not land. Pure.

Every rule that decides about a task is here; the ledger only carries the decisions out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleet.core.attempt import UNCOUNTED, Outcome
from fleet.core.globs import overlap
from fleet.core.task import TaskId, TaskState

CONFLICTS_ALLOWED = 2  # a task goes back to its agent this often for a conflict, then fails


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A task that is ready, or whose worker may have died, as the ledger lists it."""

    id: TaskId
    state: TaskState
    epoch: int
    paths: tuple[str, ...]


def order(candidates: Sequence[Candidate], busy: Iterable[tuple[str, ...]]) -> list[Candidate]:
    """The candidates in the order to try them.

    They come most urgent first. Those whose paths overlap with work in flight go last, so that
    such tasks are not run side by side while others are ready; what they declare is all we
    know, so a task without `paths` neither waits nor makes others wait.
    """
    taken = [paths for paths in busy if paths]
    apart: list[Candidate] = []
    beside: list[Candidate] = []
    for candidate in candidates:
        clash = (
            candidate.state is TaskState.PENDING  # a held one would clash with itself
            and bool(candidate.paths)
            and any(overlap(candidate.paths, held) for held in taken)
        )
        (beside if clash else apart).append(candidate)
    return apart + beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    first_s: float
    cap_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How often a task has been tried, as far as the next decision needs it."""

    attempts: int  # counted ones, the one that just ended included
    max_attempts: int
    conflicts: int
    unproven: int
    unproven_allowed: int  # how often it goes back because the gate itself could not run
    deaths: int  # attempts in a row whose worker or agent was killed under it


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What becomes of a task after an attempt that was not merged."""

    state: TaskState  # PENDING, PARKED or a terminal one
    reason: str
    not_before: float = 0.0  # POSIX seconds; a clock that jumps only makes it wait
    counted: bool = True  # False gives the attempt back


def after(
    outcome: Outcome,
    reason: str,
    record: Record,
    backoff: Backoff,
    *,
    now: float,
    rng: random.Random,
    until: float = 0.0,
) -> Next:
    """Try again, or give up: the one place that decides it. `until`: when who is parked goes on."""
    if outcome is Outcome.CANCELLED:
        return Next(state=TaskState.CANCELLED, reason=reason or "cancelled", counted=False)
    if outcome is Outcome.PARKED:
        return Next(state=TaskState.PARKED, reason=reason, not_before=until, counted=False)
    if outcome is Outcome.OVERSPENT:
        return Next(state=TaskState.FAILED, reason=reason)
    if outcome is Outcome.CONFLICT and record.conflicts > CONFLICTS_ALLOWED:
        return Next(state=TaskState.FAILED, reason=f"conflicts again and again: {reason}")
    if outcome is Outcome.UNPROVEN and record.unproven > record.unproven_allowed:
        return Next(state=TaskState.FAILED, reason=f"the gate could not run: {reason}")
    if outcome not in UNCOUNTED and record.attempts >= record.max_attempts:
        if outcome is Outcome.ABANDONED and record.deaths >= record.max_attempts:
            return Next(state=TaskState.POISONED, reason=f"killed {record.deaths} times: {reason}")
        return Next(state=TaskState.FAILED, reason=reason)
    wait = 0.0
    if outcome not in (Outcome.CONFLICT, Outcome.ABANDONED):
        wait = delay(record.attempts, backoff, rng=rng)
    return Next(
        state=TaskState.PENDING,
        reason=reason,
        not_before=now + wait,
        counted=outcome not in UNCOUNTED,
    )


def delay(failures: int, backoff: Backoff, *, rng: random.Random) -> float:
    """Seconds to wait after so many failures: exponential, capped, with full jitter."""
    ceiling = min(backoff.cap_s, backoff.first_s * 2 ** min(max(0, failures - 1), 30))
    return rng.uniform(0, ceiling)
