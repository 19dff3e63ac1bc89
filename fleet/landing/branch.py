"""The branch work lands on: where it is, what others did to it, and moving it.

Truth is the user's branch. Commits from outside become the base and are marked. The branch
moves only by compare-and-swap, and only when every checkout of it is clean; otherwise results
wait on `fleet/landed`, and follow as soon as they can.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from fleet import control
from fleet.core.event import Event, Kind
from fleet.core.report import GateReport, Verdict
from fleet.gate.candidate import Candidate
from fleet.gate.cleanroom import Caller
from fleet.repo import merge
from fleet.repo.branch import Advance
from fleet.repo.tip import Tip, accepted
from fleet.store import events
from fleet.wiring import AUTHOR_EMAIL, AUTHOR_NAME, Fleet

log = logging.getLogger(__name__)
SEEN = "refs/fleet/seen"  # in the hub: the last tip this lander has looked at
ADVANCING = "advancing"  # control row: "<old> <new>" while a checkout is being moved
HELD_BACK = "held-back"  # control row: where fleet/landed is, should that ref be lost


class Branch:
    def __init__(self, fleet: Fleet, by: Caller) -> None:
        self._fleet = fleet
        self._by = by

    def look(self) -> Tip | None:
        """Where we stand now; None while only a person can bring two histories together."""
        self._finish_move()
        tip = self._restored(accepted(self._fleet.target, self._fleet.hub))
        if tip.landed is not None and tip.commit == tip.users:
            # The branch has caught up by itself: nothing waits any more.
            self._drop(tip.landed)
            tip = Tip(commit=tip.users, users=tip.users, landed=None)
        self._mark_foreign(tip)
        if tip.landed is not None and not self._fleet.hub.is_ancestor(tip.users, tip.landed):
            return self._join(tip)
        return tip

    def has(self, commit: str, tip: Tip) -> bool:
        """Whether a planned landing came true before the lander died."""
        return self._fleet.hub.has(commit) and self._fleet.hub.is_ancestor(commit, tip.commit)

    def move(self, tip: Tip, to: str) -> bool:
        """Land `to`, whose parent is the tip: on the branch, or to wait. False: tip has moved."""
        fleet = self._fleet
        fleet.target.send(fleet.hub, to)
        how = self._advance(tip.users, to)
        if how is Advance.RACED:
            return False
        if how is Advance.BLOCKED:
            if not self._hold_back(to, tip.landed):
                return False
            if tip.landed is None:
                self._tell(Kind.WAITING, to, self._why_waiting())
        elif tip.landed is not None:
            self._drop(tip.landed)
        fleet.hub.set_ref(SEEN, to)
        return True

    def publish(self, tip: Tip) -> bool:
        """Bring the branch up to what waits on fleet/landed, if its checkout is clean by now."""
        if tip.landed is None or tip.commit != tip.landed:
            return False
        if self._advance(tip.users, tip.landed) is not Advance.MOVED:
            return False
        self._drop(tip.landed)
        self._tell(Kind.PUBLISHED, tip.landed, "")
        return True

    def _advance(self, old: str, new: str) -> Advance:
        """Move branch and checkouts; a crash between the two is finished by the next look."""
        controls = self._fleet.controls
        if controls.get(ADVANCING):
            return Advance.BLOCKED  # an earlier move of the checkout is not finished yet
        controls.set(ADVANCING, f"{old} {new}")
        how = self._fleet.target.advance(old, new)
        controls.set(ADVANCING, "")
        return how

    def _hold_back(self, commit: str, old: str | None) -> bool:
        """Point fleet/landed. Written down before: the next look finishes what was cut off."""
        self._fleet.controls.set(HELD_BACK, commit)
        return self._fleet.target.set_landed(commit, old)

    def _drop(self, landed: str) -> None:
        self._fleet.controls.set(HELD_BACK, "")
        self._fleet.target.drop_landed(landed)

    def _restored(self, tip: Tip) -> Tip:
        """With fleet/landed set again if it was lost or set back: results wait nowhere else."""
        fleet, commit = self._fleet, self._fleet.controls.get(HELD_BACK)
        if not commit or commit == tip.landed or not fleet.hub.has(commit):
            return tip
        if tip.landed is not None and not fleet.hub.is_ancestor(tip.landed, commit):
            return tip
        if fleet.hub.is_ancestor(commit, tip.users):
            fleet.controls.set(HELD_BACK, "")
            return tip
        log.warning("fleet/landed was lost, and is set again to %s", commit[:10])
        fleet.target.restore_landed(fleet.hub, commit, tip.landed)
        return accepted(fleet.target, fleet.hub)

    def _finish_move(self) -> None:
        planned = self._fleet.controls.get(ADVANCING)
        if planned:
            old, new = planned.split()
            if self._fleet.target.repair(old, new):
                self._fleet.controls.set(ADVANCING, "")

    def _mark_foreign(self, tip: Tip) -> None:
        """Commits that are not ours, since the last look, are the base from now on."""
        hub = self._fleet.hub
        seen = hub.read_ref(SEEN)
        if seen == tip.commit:
            return
        ours = {landing.commit for landing in self._fleet.queue.landings()}
        news = hub.first_parents(tip.users, seen) if seen else (tip.users,)
        foreign = [commit for commit in news if commit not in ours]
        planned = {entry.merge for entry in self._fleet.queue.waiting()}
        foreign = [commit for commit in foreign if commit not in planned]
        self._fleet.queue.external(foreign, now=time.time())
        hub.set_ref(SEEN, tip.commit)

    def _join(self, tip: Tip) -> Tip | None:
        """The user committed while results waited: merge the two, and gate the merge."""
        fleet = self._fleet
        assert tip.landed is not None
        merged = merge.merge(fleet.hub, tip.landed, tip.users)
        if merged.conflicts:
            self._give_up(f"they conflict in {', '.join(merged.conflicts[:5])}")
            return None
        base_tree = fleet.hub.tree_of(tip.landed)
        candidate = Candidate(base=tip.landed, base_tree=base_tree, tree=merged.tree)
        with fleet.gate.room.slot(self._by):
            report = fleet.gate.prove([candidate], extra=(), by=self._by)
        self.tell_gated(report, [])
        if report.verdict is not Verdict.PASS:
            self._give_up(f"the merge of the two does not pass: {report.headline}")
            return None
        commit = merge.commit(
            fleet.hub,
            merged.tree,
            (tip.landed, tip.users),
            f"Merge {fleet.target.branch} into fleet/landed\n",
            author_name=AUTHOR_NAME,
            author_email=AUTHOR_EMAIL,
            at=int(time.time()),
        )
        fleet.target.send(fleet.hub, commit)
        if not self._hold_back(commit, tip.landed):
            return None
        fleet.queue.external([commit], now=time.time())
        return Tip(commit=commit, users=tip.users, landed=commit)

    def _give_up(self, why: str) -> None:
        """Only a person can go on from here."""
        control.fault(
            self._fleet.controls,
            f"{self._fleet.target.branch} and fleet/landed have diverged, and {why}: merge "
            "fleet/landed into your branch by hand, then run fleet again",
            now=time.time(),
        )

    def _why_waiting(self) -> str:
        branch = self._fleet.target.branch
        lock = self._fleet.target.in_the_way()
        if lock:
            return f"{lock}; results wait on fleet/landed"
        return (
            f"your checkout of {branch} has changes of its own, so results wait on fleet/landed: "
            f"commit or stash them, or `git merge --ff-only fleet/landed`"
        )

    def tell_gated(self, report: GateReport, tasks: Sequence[str]) -> None:
        """A gate of the lander's own: which tasks it was about, and how it went."""
        events.emit(
            self._fleet.db,
            Event(
                kind=Kind.GATED,
                at=time.time(),
                worker="lander",
                verdict=report.verdict,
                reason=f"{_counted(tasks)} {report.headline}".strip(),
                number=round(report.seconds, 3),
            ),
        )

    def _tell(self, kind: Kind, commit: str, reason: str) -> None:
        events.emit(self._fleet.db, Event(kind=kind, at=time.time(), commit=commit, reason=reason))


def _counted(tasks: Sequence[str]) -> str:
    return f"{len(tasks)} merged: {', '.join(tasks)}." if tasks else "with commits from outside."
