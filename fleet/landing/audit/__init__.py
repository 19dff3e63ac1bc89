"""The offline checker: do ledger, refs, books, processes and files keep the promises? Reads only.

A1 two live attempts of one task never overlap. A2 an accepted outcome carries the highest epoch
of its task. A3 at most one accepted outcome and one merge commit a task. A4 every task ends in a
terminal state. A5 every commit an agent made is reachable from some ref. A6 the branch only ever
moved to a tree with a pass record, or to a commit from outside. A7 no budget was ever exceeded,
and every call has one row. A8 nothing is left of attempts that are over: no process, no lock, no
file. A9 no key, and no token but its bearer's, is anywhere.

It may be asked while the fleet is at work. The ledger is read as of one moment; what lies outside
it is looked at before and after where that matters, and what only seems wrong is looked at twice.
"""

from __future__ import annotations

from fleet.landing.audit import attempts, branch, budgets, leftovers, secrets
from fleet.landing.audit.breach import Breach
from fleet.wiring import Fleet

__all__ = ["Breach", "audit"]


def audit(fleet: Fleet) -> list[Breach]:
    """All breaches; an empty list is a clean bill."""
    seen = branch.Seen.now(fleet)
    with fleet.db.snapshot():
        found = [
            *attempts.breaches(fleet),
            *branch.breaches(fleet, seen),
            *budgets.breaches(fleet),
            *secrets.breaches(fleet),
        ]
    return found + leftovers.breaches(fleet)
