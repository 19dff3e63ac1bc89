"""Why the proxy wants an attempt to end: what it sees and a worker cannot. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleet.core.attempt import Outcome


class HaltKind(StrEnum):
    PARK = "park"  # its provider takes nothing before `until`
    STUCK = "stuck"  # it goes round in circles
    OVERSPENT = "overspent"  # its task's budget is spent
    YIELD = "yield"  # the fleet cannot go on, which is not the attempt's fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    kind: HaltKind
    reason: str
    until: float = 0.0  # POSIX s

    @property
    def outcome(self) -> Outcome:
        return _OUTCOMES[self.kind]


_OUTCOMES = {
    HaltKind.PARK: Outcome.PARKED,
    HaltKind.STUCK: Outcome.STUCK,
    HaltKind.OVERSPENT: Outcome.OVERSPENT,
    HaltKind.YIELD: Outcome.ABANDONED,
}
