"""Claimers and a lander that take turns on one real ledger in one process, as chance will have it.

    python -m tests.chaos.claim_sim [--rounds 1000] [--seed 1]

Between asking, taking effect and being answered, others take their turns; claimers die in between,
and lose their locks while they live. A round is replayed by its seed. The ledgers here with a bug
are there to see that `history` finds it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import asdict, dataclass, field, replace

import apsw

from fleet.core.attempt import Claim, Outcome, Owner
from fleet.core.errors import StaleError
from fleet.core.policy import Backoff, Candidate
from fleet.core.task import TaskId, TaskState
from fleet.store.database import MEMORY, Database
from fleet.store.ledger import Ledger
from fleet.store.queue import Queue, Submission
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from tests.builders import a_task, an_owner
from tests.chaos.history import NEVER, Asked, Operation, disordered
from tests.chaos.recorded import looks

Alive = Generator[None, None, bool]  # one turn after the other; whether it lives on
CLAIMERS, TASKS, TURNS = 4, 3, 200
DIES, SLIPS, GIVES_BACK = 0.12, 0.15, 0.2


class DuplicateEpoch(Ledger):
    """A task that is claimed again has the epoch of its last attempt again."""

    def _take(self, candidate: Candidate, owner: Owner, *, now: float) -> Claim:
        epoch = max(candidate.epoch - 1, 0)
        values = (candidate.id, epoch + 1)
        self._db.write("DELETE FROM attempts WHERE task = ? AND epoch = ?", values)
        return super()._take(replace(candidate, epoch=epoch), owner, now=now)


class NoFence(Ledger):
    """Whoever asks is believed, whatever its epoch."""

    def _move(
        self, task: TaskId, epoch: int, expected: Collection[TaskState], to: TaskState
    ) -> None:
        held = ",".join(f"'{state}'" for state in sorted(expected))
        sql = f"UPDATE tasks SET state = ? WHERE id = ? AND state IN ({held})"
        if self._db.write(sql, (to, task)) != 1:
            raise StaleError(task)


class DoubleAccept(Ledger):
    """The epoch is asked for, the state is not."""

    def _move(
        self, task: TaskId, epoch: int, expected: Collection[TaskState], to: TaskState
    ) -> None:
        sql = "UPDATE tasks SET state = ? WHERE id = ? AND epoch = ?"
        if self._db.write(sql, (to, task, epoch)) != 1:
            raise StaleError(task)


class LostAccept(Ledger):
    """Now and then what was said to be accepted is not written."""

    def submitted(self, claim: Claim, *, base: str, merge: str, now: float) -> None:
        if (claim.epoch + len(claim.task.id)) % 3:
            super().submitted(claim, base=base, merge=merge, now=now)


class ClaimsTheSubmitted(Ledger):
    """What waits for the lander looks ready."""

    def ready(
        self, *, now: float, limit: int = 32, without: Collection[str] = ()
    ) -> list[Candidate]:
        found = self._db.rows(
            "SELECT id, state, epoch FROM tasks WHERE state IN ('pending', 'submitted') LIMIT ?",
            (limit,),
        )
        return [
            Candidate(id=str(id_), state=TaskState(str(state)), epoch=epoch, paths=())
            for id_, state, epoch in found
            if isinstance(epoch, int)
        ]


LEDGERS: dict[str, type[Ledger]] = {
    "as it is": Ledger,
    "duplicate epoch": DuplicateEpoch,
    "no fence": NoFence,
    "double accept": DoubleAccept,
    "lost accept": LostAccept,
    "claims the submitted": ClaimsTheSubmitted,
}


@dataclass(slots=True)
class Round:
    """One race, replayable by its seed."""

    kind: type[Ledger]
    rng: random.Random
    db: Database = field(default_factory=lambda: Database(MEMORY))
    locks: dict[str, object] = field(default_factory=dict)
    history: list[Operation] = field(default_factory=list)
    clock: float = 0.0

    def run(self) -> list[Operation]:
        self.db.migrate(MIGRATIONS)
        Roster(self.db).sync([a_task("t" * (n + 1), max_attempts=100) for n in range(TASKS)], now=0)
        actors = [self._claimer() for _ in range(CLAIMERS)] + [self._lander()]
        for _ in range(TURNS):
            self.clock += 1.0
            number = self.rng.randrange(len(actors))
            try:
                next(actors[number])
            except StopIteration:
                actors[number] = self._claimer()
        history = self.history + looks(self.db, at=self.clock + 1)
        self.db.close()
        return history

    # -- who takes part -----------------------------------------------------------------------

    def _claimer(self) -> Iterator[None]:
        """Ends when it dies."""
        ledger, me = self.kind(self.db, Backoff(first_s=0.0, cap_s=0.0)), object()
        with contextlib.ExitStack() as dying:
            dying.callback(self._free, me)
            while True:
                yield from self._bury(ledger, me)
                if self._dies():
                    return
                at = self.clock
                yield
                found = ledger.claim(
                    an_owner(), lambda id_: self._try_hold(id_, me), now=self.clock
                )
                if found is None:
                    continue
                claim = found[0]
                number = self._tell(Asked.CLAIM, claim.task.id, claim.epoch, at)
                alive = yield from self._answered(number, agreed=True)
                if not alive:
                    return
                with contextlib.suppress(StaleError):
                    ledger.running(claim, agent="a", base="b", now=self.clock)
                yield
                if self.rng.random() < SLIPS:
                    self._free(me)  # the lock is lost, and nobody has told its holder
                    for _ in range(self.rng.randrange(12)):
                        yield
                if not (yield from self._finish(ledger, claim)):
                    return
                self._free(me)

    def _finish(self, ledger: Ledger, claim: Claim) -> Alive:
        task, epoch = claim.task.id, claim.epoch
        if self.rng.random() < GIVES_BACK:
            return (yield from self._end(ledger, task, epoch))

        def submit() -> None:
            ledger.submitted(claim, base="b", merge=f"m{self.clock}", now=self.clock)

        return (yield from self._ask(Asked.SUBMIT, task, epoch, submit))

    def _bury(self, ledger: Ledger, me: object) -> Iterator[None]:
        for candidate in ledger.held():
            if self._try_hold(candidate.id, me):
                yield from self._end(ledger, candidate.id, candidate.epoch)
                self._free(me)

    def _end(self, ledger: Ledger, task: str, epoch: int) -> Alive:
        def end() -> None:
            ledger.ended(
                task,
                epoch,
                Outcome.ABANDONED,
                "over",
                now=self.clock,
                rng=self.rng,
                give_back=True,
            )

        return (yield from self._ask(Asked.END, task, epoch, end))

    def _lander(self) -> Iterator[None]:
        queue = Queue(self.db)
        while True:
            yield
            for entry in queue.waiting()[:1]:

                def land(entry: Submission = entry) -> None:
                    plan = [(entry, f"c{self.clock}")]
                    queue.landing(plan, now=self.clock)
                    queue.landed(plan, now=self.clock)

                yield from self._ask(Asked.LAND, entry.task.id, entry.epoch, land, mortal=False)

    # -- an operation -------------------------------------------------------------------------

    def _ask(
        self, asked: Asked, task: str, epoch: int, act: Callable[[], None], *, mortal: bool = True
    ) -> Alive:
        """Asked now, done at a later turn, answered at one still later. Whether it lives on."""
        number = self._tell(asked, task, epoch, self.clock)
        yield
        if mortal and self._dies():
            return False
        try:
            act()
            agreed = True
        except StaleError:
            agreed = False
        except apsw.ConstraintError:
            return False  # the tables themselves refuse what a bug has let through
        return (yield from self._answered(number, agreed=agreed, mortal=mortal))

    def _answered(self, number: int, *, agreed: bool, mortal: bool = True) -> Alive:
        if mortal and self._dies():
            return False
        yield
        self.history[number] = replace(self.history[number], answered=self.clock, agreed=agreed)
        return True

    def _tell(self, asked: Asked, task: str, epoch: int, at: float) -> int:
        """Not answered yet."""
        one = Operation(task=task, asked=asked, epoch=epoch, at=at, answered=NEVER, agreed=None)
        self.history.append(one)
        return len(self.history) - 1

    def _dies(self) -> bool:
        return self.rng.random() < DIES

    def _try_hold(self, task: str, me: object) -> object | None:
        return me if self.locks.setdefault(task, me) is me else None

    def _free(self, me: object) -> None:
        self.locks = {task: holder for task, holder in self.locks.items() if holder is not me}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    ledger: str
    histories: int  # of one task each
    operations: int
    disordered: int
    seconds: float


def judge(name: str, *, rounds: int, seed: int) -> Verdict:
    began = time.process_time()
    operations = wrong = 0
    for number in range(rounds):
        history = Round(LEDGERS[name], random.Random(f"{seed}.{number}")).run()
        operations += len(history)
        wrong += len(disordered(history))
    return Verdict(
        ledger=name,
        histories=rounds * TASKS,
        operations=operations,
        disordered=wrong,
        seconds=round(time.process_time() - began, 2),
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    good = True
    for name, kind in LEDGERS.items():
        found = judge(name, rounds=options.rounds, seed=options.seed)
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        good &= (found.disordered == 0) == (kind is Ledger)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
