"""A3, A5 and A6 from the commits themselves: the hub's refs, and the line of the branch.

git has no snapshot that goes with the ledger's. So the branch is read before the ledger, to ask
whether every commit on it has its record, and after it, to ask whether every record has its commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fleet.landing.audit.breach import Breach
from fleet.repo.reader import Commit, Reader
from fleet.repo.trailers import parse
from fleet.wiring import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Where the branch was before the ledger was read."""

    tip: str | None

    @classmethod
    def now(cls, fleet: Fleet) -> Seen:
        users, landed = fleet.target.tips()
        return cls(tip=landed or users)


def breaches(fleet: Fleet, seen: Seen) -> Iterator[Breach]:
    yield from _kept(fleet)
    if seen.tip is not None:
        yield from _line(fleet, seen.tip)
        yield from _landings(fleet)


def _kept(fleet: Fleet) -> Iterator[Breach]:
    """A5. A ref is there before the ledger knows of what is under it, and stays."""
    heads = fleet.db.rows("SELECT task, epoch, head FROM attempts WHERE head != ''")
    salvaged = fleet.db.rows(
        "SELECT task, epoch, body ->> '$.commit' FROM events WHERE kind = 'salvaged'"
    )
    refs = fleet.hub.refs("refs/fleet/")
    kept, salvage = set(refs.values()), {}
    for name, commit in refs.items():
        if name.startswith("refs/fleet/salvage/"):
            salvage[commit] = name
    for task, epoch, head in heads:
        if str(head) not in kept:
            yield Breach(
                invariant="A5",
                what=f"the work of {task!s}.{epoch!s} ({head!s}) is under no ref of the hub",
            )
    for task, epoch, head in salvaged:
        if head and str(head) not in salvage:
            yield Breach(
                invariant="A5",
                what=f"what was salvaged of {task!s}.{epoch!s} ({head!s}) is under no ref any more",
            )


def _line(fleet: Fleet, tip: str) -> Iterator[Breach]:
    """A3 and A6: what each commit on the branch has to show for itself."""
    landings = {landing.commit: landing for landing in fleet.queue.landings()}
    planned = _planned(fleet)
    outside, passed = fleet.queue.externals(), _passed(fleet)
    merges: Counter[str] = Counter()
    trees: dict[str, str] = {}
    tops: set[str] = set()
    known = False  # once a commit is: what lies above is a person's, whom no lander has met yet
    for commit in _first_parents(fleet, tip):
        trees[commit.sha] = commit.tree
        stamp = parse(commit.message)
        if stamp is None:
            if commit.sha in outside or commit.tree in passed:
                known = True
            elif known and _before_us(fleet, commit.sha):
                break
            elif known:
                yield Breach(
                    invariant="A6", what=f"{commit.sha} is neither proven nor marked external"
                )
            continue
        known = True
        merges[stamp.task] += 1
        landing = landings.get(commit.sha)
        if landing is not None:
            tops.add(landing.top)
        elif commit.sha not in planned:
            yield Breach(invariant="A3", what=f"{commit.sha} is in no record of a landing")
    for top in tops:
        if top in trees and trees[top] not in passed:
            yield Breach(invariant="A6", what=f"the tree of {top} landed without a pass record")
    for task, number in merges.items():
        if number > 1:
            yield Breach(invariant="A3", what=f"{task} has {number} merge commits")


def _landings(fleet: Fleet) -> Iterator[Breach]:
    tip = Seen.now(fleet).tip
    if tip is None:
        return
    line = set(fleet.target.git.run("rev-list", "--first-parent", tip).text.split())
    for landing in fleet.queue.landings():
        if landing.commit not in line and not _reaches(fleet, tip, landing.commit):
            yield Breach(
                invariant="A3",
                what=f"{landing.task} is recorded as landed, but {landing.commit} is not on the "
                "branch: was it rewound?",
            )


def _planned(fleet: Fleet) -> set[str]:
    """Commits the branch may have moved to an instant before the ledger says so."""
    rows = fleet.db.rows(
        "SELECT a.merge FROM attempts a JOIN tasks t ON t.id = a.task AND t.epoch = a.epoch "
        "WHERE t.state = 'landing'"
    )
    return {str(row[0]) for row in rows}


def _passed(fleet: Fleet) -> frozenset[str]:
    return frozenset(str(row[0]) for row in fleet.db.rows("SELECT tree FROM passes"))


def _first_parents(fleet: Fleet, tip: str) -> Iterator[Commit]:
    with Reader(fleet.layout.common_dir) as reader:
        yield from reader.first_parents(tip)


def _reaches(fleet: Fleet, tip: str, commit: str) -> bool:
    """Whether it came in by a merge of the user's."""
    asked = ("merge-base", "--is-ancestor", commit, tip)
    return fleet.target.git.run(*asked, check=False).code == 0


def _before_us(fleet: Fleet, commit: str) -> bool:
    """Whether this commit is older than the first base: the history before fleet came."""
    return any(_reaches(fleet, first, commit) for first in fleet.queue.externals())
