"""What follows when a try came back without an answer: another try, by which way, and when.

A refusal for too much (429) is never the last word: the lane rests as long as the provider says,
and the call takes another key or waits. A bad key is not used again. A failure is tried again
within bounds, then on the model's next upstream. What is about the request itself is passed on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fleet.proxy.course import Course
from fleet.proxy.flight import Flight
from fleet.proxy.pressure import hints, retry
from fleet.proxy.pressure.lane import Lane
from fleet.proxy.pressure.lanes import Lanes
from fleet.proxy.pressure.need import NOTHING
from fleet.proxy.pressure.retry import RetryBudget, Setback
from fleet.proxy.reports import Reports
from fleet.proxy.wire import Trouble, header

SAME_WAY = 2  # tries by one way, while there is another
_IDENTITIES = frozenset({b"openai-organization", b"openai-project"})
SHOWN = 200  # bytes of what a provider says


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    hold_max_s: float = 240.0  # longer than that nobody is kept waiting
    deadline_s: float = 3600.0  # of a logical request, all its tries together
    tries: int = 4  # of it, for an upstream's failures


class Setbacks:
    def __init__(
        self,
        lanes: Lanes,
        reports: Reports,
        wall: Callable[[], float],
        rng: random.Random,
        redact: Callable[[bytes], bytes],
    ) -> None:
        self.policy = Policy()
        self._lanes = lanes
        self._reports = reports
        self._wall = wall
        self._rng = rng
        self._redact = redact
        self._budget = RetryBudget()

    def requested(self, now: float) -> None:
        self._budget.requested(now)

    def kind_of(self, course: Course, now: float) -> Setback:
        flight = course.flight
        if self._is_late(course, now):
            return Setback.FINAL
        if flight.said:
            limited = b"rate_limit" in flight.said or b"usage_limit" in flight.said
            return Setback.LIMITED if limited else Setback.SICK
        if flight.failure is not None:
            return retry.of_failure(flight.failure)
        kind = retry.of_status(flight.status, flight.whole())
        if kind is Setback.SICK and header(flight.headers, b"x-should-retry") == b"false":
            return Setback.FINAL
        if kind in (Setback.UNAUTHORIZED, Setback.SPENT) and self._is_clients_own(course):
            return Setback.FINAL
        return kind

    def _is_late(self, course: Course, now: float) -> bool:
        return now - course.began >= self.policy.deadline_s

    def _is_clients_own(self, course: Course) -> bool:
        """It shows a login of its own, or says whom it is for: our key is not to blame, and no
        agent may have it set aside for the others."""
        outgoing = course.flight.outgoing
        named = any(name in _IDENTITIES for name, _ in outgoing.headers) if outgoing else False
        return named or course.flight.plan.routes[course.way].account.keyless

    def another_try(self, course: Course, lane: Lane, kind: Setback, now: float) -> bool:
        """Whether there is one: by `course.ways()`, from `course.next_at` on."""
        flight, routes = course.flight, course.flight.plan.routes
        course.next_at = now
        match kind:
            case Setback.FINAL:
                if flight.status == 429 and self._is_late(course, now):
                    why = "the provider had no room for it in time"
                    flight.reply = flight.refusal(Trouble.TIMEOUT, why)
                return False
            case Setback.LIMITED:
                self._rest(course, lane, now)
            case Setback.SICK:
                return self._once_more(course, lane, now)
            case Setback.MISSING:
                provider = routes[course.way].provider
                self._close(course, (route.provider is provider for route in routes))
                return bool(course.ways())
            case Setback.SPENT | Setback.UNAUTHORIZED:
                flight.reword(self._redact(flight.whole()))  # some repeat the key they refuse
                said = flight.whole()[:SHOWN].decode("utf-8", "replace")
                self._refuse_key(lane, flight.status, said, now)
                self._close(course, (other.account == lane.account for other in course.lanes))
                if not course.ways():
                    self._no_key_is_left(flight, lane, kind, said)
        return bool(course.ways())

    def why(self, flight: Flight) -> str:
        """In few words, for whoever reads of it."""
        if flight.said:
            return "an error within the answer"
        return flight.failure.fault.value if flight.failure else f"status {flight.status}"

    # -- 429 --------------------------------------------------------------------------------

    def _rest(self, course: Course, lane: Lane, now: float) -> None:
        """Nobody asks before the provider says so."""
        flight, posix = course.flight, self._wall()
        said = hints.read(flight.headers, posix)
        wait_s, used_up = hints.in_body(flight.said or flight.whole(), posix)
        if said.retry_after_s is not None:
            wait_s = said.retry_after_s
        if said.window_s is not None or (used_up and wait_s is not None):
            length_s = max(said.window_s or 0.0, wait_s or 0.0)
            which = f"its {said.window.replace('_', '-')} limit" if said.window else "its limit"
            self._lanes.use_up(
                lane.account, now + length_s, f"the subscription has used up {which}"
            )
        else:
            lane.refused(course.sent_at, wait_s, now, self._rng.random())

    # -- 5xx, and no answer at all ----------------------------------------------------------

    def _once_more(self, course: Course, lane: Lane, now: float) -> bool:
        course.tries += 1
        if course.tries >= self.policy.tries or not self._budget.retries(now):
            return False
        said = hints.read(course.flight.headers, self._wall())
        if said.retry_after_s:
            lane.block(now + said.retry_after_s, "the provider asks for patience")
        same = [way for way in course.ways() if course.lanes[way].breaker is lane.breaker]
        is_shut = lane.ready_at(NOTHING, now) > now
        if len(same) < len(course.ways()) and (course.tries % SAME_WAY == 0 or is_shut):
            course.closed |= frozenset(same)
        else:
            course.next_at = now + retry.backoff_s(course.tries, self._rng)
        return True

    # -- 401, 403, and keys without money ---------------------------------------------------

    def _refuse_key(self, lane: Lane, status: int, said: str, now: float) -> None:
        """A 403 may be about the model alone."""
        why = f"its key was refused ({status}): {said}"
        if status == 403:
            lane.condemn(now, why)
        else:
            self._lanes.condemn(lane.account, now, why)
        self._reports.key_refused(lane.account, lane.model, why)

    def _no_key_is_left(self, flight: Flight, lane: Lane, kind: Setback, said: str) -> None:
        """Every task would fare the same: it is the fleet that has to be mended."""
        if kind is Setback.SPENT:
            flight.reply = flight.refusal(Trouble.SPENT, f"the provider says: {said}")
        if lane.model:
            self._reports.fault_of(
                flight, f"upstream {lane.account.partition('/')[0]}, model {lane.model}: {lane.why}"
            )

    def _close(self, course: Course, closed: Iterable[bool]) -> None:
        course.closed |= frozenset(way for way, is_closed in enumerate(closed) if is_closed)
