"""A ledger that tells what it was asked and what it answered, for `history` to judge.

One line for the question, one for the answer, each in one write: of whoever is killed between the
two, nobody knows whether it was done.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from fleet.core.attempt import Claim, Outcome, Owner
from fleet.core.errors import StaleError
from fleet.core.policy import Backoff, Next
from fleet.core.task import HELD, TaskId, TaskState
from fleet.store.database import Database
from fleet.store.ledger import Ledger, Lock
from tests.chaos.history import NEVER, Asked, Operation, Stands

Tell = Callable[[str], None]
STANDS = {
    TaskState.PENDING: Stands.FREE,
    TaskState.CLAIMED: Stands.HELD,
    TaskState.RUNNING: Stands.HELD,
    TaskState.SUBMITTED: Stands.SUBMITTED,
    TaskState.LANDING: Stands.SUBMITTED,
    TaskState.MERGED: Stands.LANDED,
}


class RecordedLedger(Ledger):
    """What workers ask of it; everything else passes unseen."""

    def __init__(self, db: Database, backoff: Backoff, tell: Tell) -> None:
        super().__init__(db, backoff)
        self._tell = tell
        self._own = os.urandom(4).hex()
        self._asked = 0

    def claim(
        self,
        owner: Owner,
        try_hold: Callable[[TaskId], Lock | None],
        *,
        now: float,
        without: Collection[str] = (),
    ) -> tuple[Claim, Lock] | None:
        at = time.monotonic()
        found = super().claim(owner, try_hold, now=now, without=without)
        if found is not None:
            task, epoch = found[0].task.id, found[0].epoch
            number = self._ask(Asked.CLAIM, task, epoch, at)
            self._answer(number, agreed=True)
        return found

    def submitted(self, claim: Claim, *, base: str, merge: str, now: float) -> None:
        with self._told(Asked.SUBMIT, claim.task.id, claim.epoch):
            super().submitted(claim, base=base, merge=merge, now=now)

    def ended(
        self,
        task: TaskId,
        epoch: int,
        outcome: Outcome,
        reason: str,
        *,
        now: float,
        rng: random.Random,
        expected: Collection[TaskState] = HELD,
        findings: Iterable[str] = (),
        give_back: bool = False,
        until: float = 0.0,
    ) -> Next:
        with self._told(Asked.END, task, epoch):
            return super().ended(
                task,
                epoch,
                outcome,
                reason,
                now=now,
                rng=rng,
                expected=expected,
                findings=findings,
                give_back=give_back,
                until=until,
            )

    @contextmanager
    def _told(self, asked: Asked, task: TaskId, epoch: int) -> Iterator[None]:
        number = self._ask(asked, task, epoch, time.monotonic())
        try:
            yield
        except StaleError:
            self._answer(number, agreed=False)
            raise
        self._answer(number, agreed=True)

    def _ask(self, asked: Asked, task: TaskId, epoch: int, at: float) -> str:
        self._asked += 1
        number = f"{self._own}.{self._asked}"
        self._tell(f"? {number} {at!r} {asked} {task} {epoch}")
        return number

    def _answer(self, number: str, *, agreed: bool) -> None:
        self._tell(f"! {number} {time.monotonic()!r} {int(agreed)}")


def read(lines: Iterable[str], db: Database) -> list[Operation]:
    """What was told, the claims that nobody lived to tell of, and where all stands at the end."""
    asked: dict[str, tuple[float, Asked, str, int]] = {}
    answers: dict[str, tuple[float, bool]] = {}
    for line in lines:
        mark, *words = line.split()
        if mark == "?":
            number, at, kind, name, epoch = words
            asked[number] = float(at), Asked(kind), name, int(epoch)
        elif mark == "!":
            number, at, agreed = words
            answers[number] = float(at), agreed == "1"
    history = []
    for number, (begun, what, task, given) in asked.items():
        answered, answer = answers.get(number, (NEVER, None))
        history.append(_operation(task, what, given, begun, answered, agreed=answer))
    return history + _untold(history, db) + looks(db, at=time.monotonic())


def _untold(history: list[Operation], db: Database) -> list[Operation]:
    """Claims whose claimers were killed before they could say so."""
    told: defaultdict[str, set[int]] = defaultdict(set)
    for one in history:
        if one.asked is Asked.CLAIM:
            told[one.task].add(one.epoch)
    return [
        _operation(str(task), Asked.CLAIM, epoch, 0.0, NEVER, agreed=None)
        for task, epoch in db.rows("SELECT task, epoch FROM attempts")
        if isinstance(epoch, int) and epoch not in told[str(task)]
    ]


def looks(db: Database, *, at: float) -> list[Operation]:
    """Where every task stands."""
    found = []
    for task, state, epoch in db.rows("SELECT id, state, epoch FROM tasks"):
        assert isinstance(epoch, int)
        stands = STANDS[TaskState(str(state))]
        look = _operation(str(task), Asked.LOOK, epoch, at, at, agreed=True, stands=stands)
        found.append(look)
    return found


def _operation(
    task: str,
    asked: Asked,
    epoch: int,
    at: float,
    answered: float,
    *,
    agreed: bool | None,
    stands: Stands | None = None,
) -> Operation:
    return Operation(
        task=task,
        asked=asked,
        epoch=epoch,
        at=at,
        answered=answered,
        agreed=agreed,
        stands=stands,
    )
