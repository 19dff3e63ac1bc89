"""The offline checker: do ledger and refs keep the promises? Reads only.

A1 two live attempts of one task never overlap. A2 an accepted outcome carries the highest epoch
of its task. A3 at most one accepted outcome and one merge commit a task. A4 every task ends in a
terminal state. A5 every commit an agent made is reachable from some ref. A6 the branch only ever
moved to a tree with a pass record, or to a commit from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fleet.core.event import Event, Kind
from fleet.repo.reader import Reader
from fleet.repo.trailers import parse
from fleet.store import events
from fleet.store.claims import is_held
from fleet.store.reports import Reports
from fleet.wiring import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One way in which what is on disk breaks a promise."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


def audit(fleet: Fleet) -> list[Breach]:
    """All breaches; an empty list is a clean bill."""
    return [
        *_overlaps(fleet),
        *_accepted(fleet),
        *_open(fleet),
        *_reachable(fleet),
        *_branch(fleet),
    ]


_OVER = frozenset({Kind.SUBMITTED, Kind.RETURNED, Kind.ENDED})


def _overlaps(fleet: Fleet) -> Iterator[Breach]:
    """A1: by the order of events, which is the order of the transactions."""
    holder: dict[str, int] = {}
    for event in _all_events(fleet):
        if event.kind is Kind.CLAIMED:
            before = holder.get(event.task)
            if before is not None:
                yield Breach(
                    invariant="A1",
                    what=f"{event.task}.{event.epoch} was claimed while {before} lived",
                )
            holder[event.task] = event.epoch
        elif event.kind in _OVER and holder.get(event.task) == event.epoch:
            del holder[event.task]
    for task, epoch in holder.items():
        view = fleet.roster.task(task)
        if view is not None and view.epoch != epoch:
            yield Breach(invariant="A1", what=f"{task}.{epoch} was claimed but never ended")


def _accepted(fleet: Fleet) -> Iterator[Breach]:
    rows = fleet.db.rows(
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
    if is_held(fleet.layout.coordinator_lock):
        return
    counts = fleet.roster.counts()
    if counts.open:
        yield Breach(
            invariant="A4",
            what=f"{counts.open} tasks have not ended: `fleet run` goes on with them",
        )


def _reachable(fleet: Fleet) -> Iterator[Breach]:
    kept = set(fleet.hub.refs("refs/fleet/attempts/").values())
    for task, epoch, head in fleet.db.rows(
        "SELECT task, epoch, head FROM attempts WHERE head != ''"
    ):
        if str(head) not in kept:
            yield Breach(
                invariant="A5",
                what=f"the work of {task!s}.{epoch!s} ({head!s}) is under no ref of the hub",
            )


def _branch(fleet: Fleet) -> Iterator[Breach]:
    """A3 and A6, from the commits themselves."""
    landings = {landing.commit: landing for landing in fleet.queue.landings()}
    outside = fleet.queue.externals()
    reports = Reports(fleet.db)
    merges: Counter[str] = Counter()
    tip = fleet.target.landed() or fleet.target.tip()
    if tip is None:
        return
    with Reader(fleet.layout.common_dir) as reader:
        trees: dict[str, str] = {}
        tops: set[str] = set()
        for commit in reader.first_parents(tip):
            trees[commit.sha] = commit.tree
            stamp = parse(commit.message)
            if stamp is None:
                if commit.sha not in outside and not reports.has_passed(commit.tree):
                    if _before_us(fleet, commit.sha):
                        break
                    yield Breach(
                        invariant="A6", what=f"{commit.sha} is neither proven nor marked external"
                    )
                continue
            merges[stamp.task] += 1
            landing = landings.get(commit.sha)
            if landing is None:
                yield Breach(invariant="A3", what=f"{commit.sha} is in no record of a landing")
                continue
            tops.add(landing.top)
        for top in tops:
            if top in trees and not reports.has_passed(trees[top]):
                yield Breach(invariant="A6", what=f"the tree of {top} landed without a pass record")
    for task, number in merges.items():
        if number > 1:
            yield Breach(invariant="A3", what=f"{task} has {number} merge commits")
    for landing in landings.values():
        if landing.commit not in trees:
            yield Breach(
                invariant="A3",
                what=f"{landing.task} is recorded as landed, but {landing.commit} is not on the "
                "branch: was it rewound?",
            )


def _before_us(fleet: Fleet, commit: str) -> bool:
    """Whether this commit is older than the first base: the history before fleet came."""
    return any(
        fleet.hub.has(first) and fleet.hub.is_ancestor(commit, first)
        for first in fleet.queue.externals()
    )


def _all_events(fleet: Fleet) -> Iterator[Event]:
    seq = 0
    while True:
        page = list(events.since(fleet.db, seq))
        if not page:
            return
        yield from page
        seq = page[-1].seq
