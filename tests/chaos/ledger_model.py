"""What a ledger has to do, said again without any SQL: the plainest thing that could be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fleet.core.attempt import Outcome
from fleet.core.task import TERMINAL, TaskState

S = TaskState
HELD = (S.CLAIMED, S.RUNNING)
LOST = (S.FAILED, S.POISONED, S.CANCELLED, S.BLOCKED)
UNPROVEN_ALLOWED = CONFLICTS_ALLOWED = 2

CAP_S = 10.0  # of a back-off, in seconds


@dataclass(slots=True)
class Entry:
    """One task."""

    id: str
    needs: tuple[str, ...]
    max_attempts: int
    priority: int
    seq: int = 0
    state: TaskState = S.PENDING
    epoch: int = 0
    attempts: int = 0
    conflicts: int = 0
    unproven: int = 0
    deaths: int = 0
    not_before: float = 0.0
    cancel: bool = False
    gone: bool = False  # its file is, and that is why it was cancelled
    merged: list[int] = field(default_factory=list)  # epochs that were accepted


class Model:
    def __init__(self, entries: Iterable[Entry]) -> None:
        self.tasks = {entry.id: entry for entry in entries}

    # -- workers --------------------------------------------------------------------------------

    def ready(self, now: float) -> list[Entry]:
        """In the order to claim them."""
        found = [
            entry
            for entry in self.tasks.values()
            if entry.state is S.PENDING
            and not self.waits_for(entry)
            # A back-off that ends later than any can was set before the clock went back.
            and not now < entry.not_before <= now + CAP_S
        ]
        return sorted(found, key=lambda entry: (entry.priority, entry.seq, entry.id))

    def waits_for(self, entry: Entry) -> int:
        return sum(self.tasks[need].state is not S.MERGED for need in entry.needs)

    def claim(self, id_: str) -> int:
        entry = self.tasks[id_]
        entry.state, entry.epoch, entry.attempts = S.CLAIMED, entry.epoch + 1, entry.attempts + 1
        return entry.epoch

    def moves(self, id_: str, epoch: int, before: Iterable[TaskState], to: TaskState) -> bool:
        """Whether it may, and then it does."""
        entry = self.tasks[id_]
        if entry.epoch != epoch or entry.state not in before:
            return False
        entry.state = to
        return True

    def ends(
        self, id_: str, epoch: int, outcome: Outcome, *, give_back: bool, until: float
    ) -> bool:
        """An attempt is over without being merged."""
        entry = self.tasks[id_]
        if entry.epoch != epoch:
            return False
        if entry.cancel:
            outcome = Outcome.CANCELLED
        abandoned = outcome is Outcome.ABANDONED
        entry.cancel = False
        entry.conflicts += outcome is Outcome.CONFLICT
        entry.unproven += outcome is Outcome.UNPROVEN
        entry.deaths = entry.deaths + 1 if abandoned and not give_back else 0
        entry.not_before = 0.0
        entry.state, counted = self._after(entry, outcome, give_back=give_back and abandoned)
        if entry.state is S.PARKED:
            entry.not_before = until
        entry.attempts -= not counted
        if entry.state in TERMINAL:
            self._block_behind(id_)
        return True

    def _after(self, entry: Entry, outcome: Outcome, *, give_back: bool) -> tuple[TaskState, bool]:
        """The next state, and whether the attempt counts."""
        if give_back:
            return S.PENDING, False
        match outcome:
            case Outcome.CANCELLED:
                return S.CANCELLED, False
            case Outcome.PARKED:
                return S.PARKED, False
            case Outcome.OVERSPENT:
                return S.FAILED, True
            case Outcome.CONFLICT:
                too_many = entry.conflicts > CONFLICTS_ALLOWED
                return (S.FAILED, True) if too_many else (S.PENDING, False)
            case Outcome.UNPROVEN:
                too_many = entry.unproven > UNPROVEN_ALLOWED
                return (S.FAILED, True) if too_many else (S.PENDING, False)
        if entry.attempts < entry.max_attempts:
            return S.PENDING, True
        dead = outcome is Outcome.ABANDONED and entry.deaths >= entry.max_attempts
        return (S.POISONED if dead else S.FAILED), True

    def wake(self, now: float) -> None:
        for entry in self.tasks.values():
            if entry.state is S.PARKED and entry.not_before <= now:
                entry.state, entry.not_before = S.PENDING, 0.0

    # -- the lander -----------------------------------------------------------------------------

    def lands(self, id_: str, epoch: int) -> bool:
        if not self.moves(id_, epoch, (S.LANDING,), S.MERGED):
            return False
        self.tasks[id_].merged.append(epoch)
        return True

    # -- people ---------------------------------------------------------------------------------

    def cancel(self, id_: str) -> bool:
        entry = self.tasks[id_]
        if entry.state in TERMINAL:
            return False
        if entry.state in (S.PENDING, S.PARKED):
            entry.state = S.CANCELLED
            entry.gone = False
            self._block_behind(id_)
        else:
            entry.cancel = True
        return True

    def retry(self, id_: str) -> bool:
        entry = self.tasks[id_]
        if entry.state not in TERMINAL or entry.state is S.MERGED:
            return False
        self._revive(entry)
        for behind in self._behind(id_):
            if behind.state is S.BLOCKED:
                self._revive(behind)
        self._block_the_lost()
        return True

    def sync(self, listed: list[str]) -> None:
        """The files have these, in this order."""
        changed = False
        for seq, id_ in enumerate(listed):
            changed |= self.tasks[id_].seq != seq
            self.tasks[id_].seq = seq
        for entry in self.tasks.values():
            if entry.id not in listed and entry.state in (S.PENDING, S.PARKED):
                entry.state, entry.gone, changed = S.CANCELLED, True, True
        for id_ in listed:
            entry = self.tasks[id_]
            if entry.state is S.CANCELLED and entry.gone:
                self._revive(entry)
                changed = True
        if changed:
            self._block_the_lost()

    def _revive(self, entry: Entry) -> None:
        entry.state, entry.cancel, entry.gone, entry.not_before = S.PENDING, False, False, 0.0
        entry.attempts = entry.conflicts = entry.unproven = entry.deaths = 0

    def _behind(self, id_: str) -> Iterator[Entry]:
        """Everything that needs it, directly or not."""
        for entry in self.tasks.values():
            if id_ in entry.needs:
                yield entry
                yield from self._behind(entry.id)

    def _block_behind(self, id_: str) -> None:
        for entry in self.tasks.values():
            if id_ in entry.needs and entry.state is S.PENDING:
                entry.state = S.BLOCKED
                self._block_behind(entry.id)

    def _block_the_lost(self) -> None:
        for entry in list(self.tasks.values()):
            if entry.state is S.PENDING and any(self.tasks[n].state in LOST for n in entry.needs):
                entry.state = S.BLOCKED
                self._block_behind(entry.id)
