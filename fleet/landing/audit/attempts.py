"""A1 to A4 as the ledger tells them, and who is at work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fleet.core.event import Event, Kind
from fleet.landing.audit.breach import Breach
from fleet.store import events
from fleet.store.claims import is_held
from fleet.store.database import Database
from fleet.wiring import Fleet

_OVER = frozenset({Kind.SUBMITTED, Kind.RETURNED, Kind.ENDED, Kind.PARKED})


def breaches(fleet: Fleet) -> Iterator[Breach]:
    yield from overlaps(fleet.db)
    yield from accepted(fleet.db)
    yield from _open(fleet)


def somebody_works(fleet: Fleet) -> bool:
    """Whether any process of this fleet lives that may change it."""
    layout = fleet.layout
    own = (layout.coordinator_lock, layout.lander_lock, layout.proxy_lock)
    return any(map(is_held, (*own, *layout.worker_locks())))


def overlaps(db: Database) -> Iterator[Breach]:
    """A1: by the order of events, which is the order of the transactions."""
    holder: dict[str, int] = {}
    newest: dict[str, int] = {}
    for event in _all_events(db):
        if event.kind is Kind.CLAIMED:
            before = holder.get(event.task)
            if before is not None:
                yield Breach(
                    invariant="A1",
                    what=f"{event.task}.{event.epoch} was claimed while {before} lived",
                )
            if event.epoch <= newest.get(event.task, 0):
                yield Breach(
                    invariant="A1",
                    what=f"{event.task}.{event.epoch} was claimed after {newest[event.task]}: an "
                    "epoch was used twice",
                )
            holder[event.task] = newest[event.task] = event.epoch
        elif event.kind in _OVER and holder.get(event.task) == event.epoch:
            del holder[event.task]
    epochs = {str(id_): epoch for id_, epoch in db.rows("SELECT id, epoch FROM tasks")}
    for task, epoch in holder.items():
        if epochs.get(task, epoch) != epoch:
            yield Breach(invariant="A1", what=f"{task}.{epoch} was claimed but never ended")


def accepted(db: Database) -> Iterator[Breach]:
    """A2 and A3."""
    rows = db.rows(
        "SELECT a.task, a.epoch, t.epoch FROM attempts a JOIN tasks t ON t.id = a.task "
        "WHERE a.outcome = 'merged'"
    )
    for task, epoch, newest in rows:
        if epoch != newest:
            yield Breach(
                invariant="A2", what=f"{task!s}.{epoch!s} was accepted, but {newest!s} was claimed"
            )
    for task, number in Counter(task for task, _, _ in rows).items():
        if number > 1:
            yield Breach(invariant="A3", what=f"{task!s} was accepted {number} times")


def _open(fleet: Fleet) -> Iterator[Breach]:
    """A4 can only be judged while nobody works."""
    if somebody_works(fleet):
        return
    counts = fleet.roster.counts()
    if counts.open:
        yield Breach(
            invariant="A4",
            what=f"{counts.open} tasks have not ended: `fleet run` goes on with them",
        )


def _all_events(db: Database) -> Iterator[Event]:
    seq = 0
    while True:
        page = list(events.since(db, seq))
        if not page:
            return
        yield from page
        seq = page[-1].seq
