"""Is a history of claims what one ledger, doing one thing at a time, could have said? Pure.

An operation is known by when it was asked for, when it was answered, and what the answer was. Of
one that was never answered, since whoever asked was killed, nobody knows whether it took effect.
Tasks do not matter to each other, so each is judged alone: is there an order of its operations in
which none comes before one that was answered before it was asked, and in which every answer is
right? (Herlihy and Wing's linearizability, searched for as Wing, Gong and Lowe do.)
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

NEVER = math.inf


class Asked(StrEnum):
    CLAIM = "claim"
    SUBMIT = "submit"
    END = "end"  # given back, or buried: may be claimed again
    LAND = "land"
    LOOK = "look"  # where the task stands when all is over


class Stands(StrEnum):
    FREE = "free"
    HELD = "held"
    SUBMITTED = "submitted"
    LANDED = "landed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    task: str
    asked: Asked
    epoch: int  # the caller's; for a claim the one it was given
    at: float
    answered: float  # NEVER
    agreed: bool | None  # None: no answer came
    stands: Stands | None = None  # what a look has seen


@dataclass(frozen=True, slots=True)
class State:
    """One task, to a ledger that does one thing at a time."""

    epoch: int = 0
    stands: Stands = Stands.FREE


_MOVES = {
    Asked.SUBMIT: (Stands.HELD, Stands.SUBMITTED),
    Asked.END: (Stands.HELD, Stands.FREE),
    Asked.LAND: (Stands.SUBMITTED, Stands.LANDED),
}


def after(state: State, one: Operation) -> State | None:
    """The state after an operation that was answered; None if that answer would be wrong."""
    moved = _moved(state, one)
    if one.asked is Asked.LOOK:
        return state if (one.epoch, one.stands) == (state.epoch, state.stands) else None
    if one.agreed is False:
        return state if moved is None else None
    return moved


def _moved(state: State, one: Operation) -> State | None:
    if one.asked is Asked.CLAIM:
        free = state.stands is Stands.FREE and one.epoch == state.epoch + 1
        return State(one.epoch, Stands.HELD) if free else None
    if one.asked is Asked.LOOK:
        return state
    before, then = _MOVES[one.asked]
    fits = state.stands is before and one.epoch == state.epoch
    return State(state.epoch, then) if fits else None


def disordered(history: Iterable[Operation]) -> list[str]:
    """The tasks whose operations fit into no order."""
    by_task: defaultdict[str, list[Operation]] = defaultdict(list)
    for one in history:
        by_task[one.task].append(one)
    return sorted(task for task, own in by_task.items() if not _has_order(own))


def _has_order(operations: list[Operation]) -> bool:
    """Depth first over what may come next; a set of operations and a state are tried once."""
    operations = sorted(operations, key=lambda one: (one.at, one.answered))
    must = sum(1 << n for n, one in enumerate(operations) if one.answered < NEVER)
    seen = {(0, State())}
    ahead = [(0, State())]
    while ahead:
        done, state = ahead.pop()
        if done & must == must:
            return True
        for number in _next(operations, done):
            then = after(state, operations[number])
            found = None if then is None else (done | 1 << number, then)
            if found is not None and found not in seen:
                seen.add(found)
                ahead.append(found)
    return False


def _next(operations: list[Operation], done: int) -> list[int]:
    """Operations that none still to come was answered before. They stand in order of asking."""
    left = [n for n in range(len(operations)) if not done >> n & 1]
    first = min(operations[n].answered for n in left)
    return [n for n in left if operations[n].at <= first]
