"""How long a call is kept waiting, and what becomes of it then.

Who would wait longer than `hold_max_s` is not kept waiting: its attempt is parked until then, and
a caller without an attempt is told when to come again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fleet.proxy.course import Course
from fleet.proxy.pressure.breaker import State
from fleet.proxy.pressure.lane import Lane
from fleet.proxy.pressure.lanes import Lanes
from fleet.proxy.reports import Reports
from fleet.proxy.setbacks import Setbacks
from fleet.proxy.wire import Trouble

PARKED_S = 60.0  # at least: an agent's start costs something, too
MOST_ADVISED_S = 60  # SDKs take a longer `retry-after` for none


class Patience:
    def __init__(
        self, lanes: Lanes, setbacks: Setbacks, reports: Reports, wall: Callable[[], float]
    ) -> None:
        self._lanes = lanes
        self._setbacks = setbacks
        self._reports = reports
        self._wall = wall

    def see(self, course: Course, now: float) -> None:
        """Of one that waits in line. Those who ask are told if it is not worth it."""
        flight, policy = course.flight, self._setbacks.policy
        at = max(now, course.next_at) if course.next_at < math.inf else now
        too_long = at - course.began > policy.hold_max_s
        callers = {reader.caller for reader in flight.subscribers if reader.caller.task}
        ways = [course.lanes[way] for way in course.ways()]
        lane, is_shut = ways[0], all(map(_is_shut, ways))
        if now - course.began > policy.deadline_s:
            flight.refuse(Trouble.TIMEOUT, "the provider had no room for it in time")
        elif all(each.is_condemned(now) for each in ways):
            why = f"{lane.account.partition('/')[0]}: {lane.why}"
            self._reports.fault_of(flight, why)
            flight.refuse(Trouble.UNAUTHORIZED, why)
        elif callers and too_long:
            until = self._wall() + max(at - now, 0.0 if at > now else PARKED_S)
            why = _why(lane)
            for caller in callers:
                self._reports.park(caller, until, why)
            if all(self._lanes.used_up_until(each.account) > now for each in course.lanes):
                self._reports.pause(until, why)
        elif not callers and flight.subscribers and (too_long or is_shut):
            self._send_away(course, lane, at - now)

    def _send_away(self, course: Course, lane: Lane, wait_s: float) -> None:
        """Nobody's attempt, so there is nothing to park."""
        course.flight.refuse(
            Trouble.OVERLOADED if _is_shut(lane) else Trouble.LIMITED,
            f"{lane.account.partition('/')[0]} takes no calls for {wait_s:.0f} s: {_why(lane)}",
            retry_after_s=max(1, min(MOST_ADVISED_S, math.ceil(wait_s))),
        )


def _is_shut(lane: Lane) -> bool:
    return lane.breaker.state is State.OPEN


def _why(lane: Lane) -> str:
    return lane.breaker.why if _is_shut(lane) else lane.why or "the limits of its upstream"
