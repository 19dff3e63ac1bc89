"""When a call goes out, and by which way.

It goes at once while nothing stands in its way: no limit, no line, a closed breaker. Else it waits
in line for a lane, the first of its ways that is open. How long it is worth waiting is `patience`'s
to say, and what follows a failed try is `setbacks`'; all of it happens before anything of an answer
has gone out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from fleet.core.traffic import Ended
from fleet.proxy.course import Course, Pool, Timer
from fleet.proxy.flight import Flight
from fleet.proxy.patience import Patience
from fleet.proxy.plans import Plans
from fleet.proxy.pressure import hints
from fleet.proxy.pressure.breaker import State
from fleet.proxy.pressure.lane import Lane
from fleet.proxy.pressure.lanes import Lanes
from fleet.proxy.pressure.line import WEIGHTS, Waiting
from fleet.proxy.pressure.need import NOTHING, Need, Needs, counted
from fleet.proxy.pressure.retry import Setback
from fleet.proxy.pressure.share import FREE_BELOW, Shares
from fleet.proxy.reports import Reports
from fleet.proxy.setbacks import Setbacks
from fleet.proxy.stage import Priority
from fleet.proxy.treasury import Treasury
from fleet.proxy.wire import Trouble

SHED_S = 30  # who is turned away for want of room should stay away for so long
LOOK_AGAIN_S = 0.25  # where nothing says when
SAID = -1  # a call whose result the breaker has had
COST_TOKENS = 1000.0  # what shares are measured in: requests, and their tokens by the thousand

Later = Callable[[float, Callable[[], None]], Timer]


class Sends(Protocol):
    """Who puts a call on the wire."""

    def send(self, flight: Flight) -> None: ...
    def lined_up(self, flight: Flight) -> None: ...  # it does not go at once
    def number(self) -> int: ...


class Dispatch:
    def __init__(
        self,
        *,
        lanes: Lanes,
        setbacks: Setbacks,
        plans: Plans,
        treasury: Treasury,
        reports: Reports,
        clock: Callable[[], float],
        wall: Callable[[], float],
        later: Later,
    ) -> None:
        self.lanes = lanes
        self.setbacks = setbacks
        self._plans = plans
        self._treasury = treasury
        self._reports = reports
        self._clock = clock
        self._wall = wall
        self._later = later
        self._patience = Patience(lanes, setbacks, reports, wall)
        self._needs = Needs()
        self._shares = Shares()
        self._courses: dict[Flight, Course] = {}
        self._pools: dict[frozenset[Lane], Pool] = {}
        self._poor: list[Course] = []  # they wait for money that others have set aside
        self._is_pumping = False
        self._sends: Sends
        treasury.on_settled = self._wake_the_poor

    def attach(self, sends: Sends) -> None:
        self._sends = sends

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return sum(len(pool.line) for pool in self._pools.values())

    # -- told by the flights ----------------------------------------------------------------

    def submit(self, flight: Flight, size: int) -> None:
        """A new logical request wants its answer."""
        now, model = self._clock(), flight.plan.asked.model
        find = self.lanes.of
        routes = flight.plan.routes
        lanes = tuple([find(way.account.name, way.account.address, model) for way in routes])
        course = self._courses[flight] = Course(flight, lanes, size, now)
        self.setbacks.requested(now)
        self._try(course, now)

    def lift(self, flight: Flight, level: Priority) -> None:
        """Somebody more urgent has joined."""
        course = self._courses.get(flight)
        if course is None or level >= flight.plan.level:
            return
        flight.plan.level = level
        if course.pool is not None and course.waiting is not None:
            course.pool.line.lift(course.waiting, level)

    def headed(self, flight: Flight) -> None:
        """The head of an answer: what it says of limits, and of the upstream's health."""
        course = self._courses.get(flight)
        if course is None or course.lane is None:
            return
        lane, now = course.lane, self._clock()
        said = hints.read(flight.headers, self._wall())
        if said is not hints.NOTHING:
            lane.learn(said, now)
        if flight.status == 200:
            lane.answered(now)
            if lane.breaker.state is not State.CLOSED:
                self._tell_breaker(lane, lane.breaker.succeeded(course.probe, now))
                course.probe = SAID  # a probe need not wait for the end of a long answer

    def retries(self, flight: Flight) -> bool:
        """A try came to nothing: whether another follows. If so, `again` is called next."""
        course = self._courses.get(flight)
        if course is None or course.lane is None:
            return False
        now, lane, failure = self._clock(), course.lane, flight.failure
        is_stale = failure is not None and failure.reused and not failure.answered
        if is_stale and not course.is_forgiven:
            course.is_forgiven = True  # the connection had just been closed as we wrote
            lane.breaker.said_nothing(course.probe)
            self._leave(course, NOTHING, now)
            course.next_at = now
            return True
        kind = self.setbacks.kind_of(course, now)
        if kind is Setback.SICK:
            why = self.setbacks.why(flight)
            self._tell_breaker(lane, lane.breaker.failed(course.probe, now, why))
        else:
            lane.breaker.said_nothing(course.probe)
        self._leave(course, NOTHING, now)
        goes_on = self.setbacks.another_try(course, lane, kind, now)
        self._pump()
        return goes_on

    def again(self, flight: Flight) -> None:
        """The other try; of the last one nothing is left."""
        course, now = self._courses[flight], self._clock()
        if course.next_at > now:
            course.timer = self._later(course.next_at - now, lambda: self._awake(course))
        else:
            self._try(course, now)

    def over(self, flight: Flight) -> None:
        """Answered, refused, or nobody wants it any more."""
        course = self._courses.pop(flight, None)
        if course is None:
            return
        self._stand_aside(course)
        lane, now = course.lane, self._clock()
        if lane is not None:
            self._tell_breaker(lane, self._verdict(course, lane, now))
            used = None
            if flight.usage and not lane.is_free:
                model = flight.plan.asked.model
                used = counted(flight.usage)
                self._needs.used(
                    course.agent, lane.account, model, size=course.size, usage=flight.usage
                )
            self._leave(course, used, now)
        if not flight.sent_at:
            self._treasury.void(flight.call_id)
        if self._pools:
            self._pump()

    def _verdict(self, course: Course, lane: Lane, now: float) -> bool:
        flight, breaker = course.flight, lane.breaker
        if flight.ended is Ended.COMPLETE:
            return breaker.succeeded(course.probe, now)
        if flight.ended in (Ended.CUT, Ended.FAILED) and flight.failure is not None:
            return breaker.failed(course.probe, now, self.setbacks.why(flight))
        breaker.said_nothing(course.probe)
        return False

    def _leave(self, course: Course, used: Need | None, now: float) -> None:
        lane, course.lane = course.lane, None
        if lane is not None:
            lane.give_back(course.need, used, now)

    def _tell_breaker(self, lane: Lane, turned: bool) -> None:
        if turned:
            self._reports.breaker(lane)

    # -- the way out ------------------------------------------------------------------------

    def _try(self, course: Course, now: float) -> None:
        first = course.lanes[0]
        if first.is_free and not self._pools and first.breaker.state is State.CLOSED:
            way: int | None = 0 if 0 not in course.closed else self._open_way(course, now)
        else:
            pool = self._pools.get(frozenset(course.lanes))
            way = None if pool is not None else self._open_way(course, now)
        if way is None:
            self._line_up(course, now)
        else:
            self._go(course, way, now)

    def _open_way(self, course: Course, now: float) -> int | None:
        """The first that is open; else `course.next_at` says when one may be."""
        at, course.gives_way = math.inf, False
        for way in course.ways():
            lane = course.lanes[way]
            ready_at = lane.ready_at(self._guess(course, way), now)
            if ready_at <= now:
                if lane.is_free or not self._must_give_way(course, lane, now):
                    return way
                ready_at, course.gives_way = now + LOOK_AGAIN_S, True
            at = min(at, ready_at)
        course.next_at = at
        return None

    def _must_give_way(self, course: Course, lane: Lane, now: float) -> bool:
        """Little is left, and it has had more than its share."""
        return lane.saturation(now) >= FREE_BELOW and self._shares.is_over(course.agent, now)

    def _guess(self, course: Course, way: int) -> Need:
        lane, plan = course.lanes[way], course.flight.plan
        if lane.is_free:
            return NOTHING
        return self._needs.guess(
            course.agent,
            lane.account,
            plan.asked.model,
            size=course.size,
            most=plan.asked.max_output,
            reserves=plan.routes[way].provider.reserves_output,
        )

    def _go(self, course: Course, way: int, now: float) -> None:
        """By this way, if it can be paid."""
        flight = course.flight
        if way != course.way:
            course.way = way
            flight.take_way(*self._plans.by(flight, flight.plan.routes[way]))
        lane = course.lanes[way]
        course.need = need = self._guess(course, way)
        flight.call_id = self._sends.number()
        if self._treasury.guards(flight):
            self._pay(course, lane, now)
            return
        course.probe = lane.take(need, now)
        self._sent(course, lane, now)

    def _sent(self, course: Course, lane: Lane, now: float) -> None:
        course.lane, course.sent_at = lane, now
        if not lane.is_free:
            cost = 1.0 + (course.need.input + course.need.output) / COST_TOKENS
            self._shares.used(course.agent, cost / WEIGHTS[course.flight.plan.level], now)
        self._sends.send(course.flight)

    # -- money ------------------------------------------------------------------------------

    def _pay(self, course: Course, lane: Lane, now: float) -> None:
        """What it may cost at most is set aside, durably, before it leaves."""
        flight, size = course.flight, course.size
        refused = self._treasury.set_aside(flight, size, lambda: self._paid(course))
        if refused is None:
            course.probe = lane.take(course.need, now)
            course.lane = lane
        elif refused.waits:
            self._poor.append(course)
        else:
            self._reports.spent(flight, refused)
            flight.refuse(Trouble.SPENT, refused.message)

    def _paid(self, course: Course) -> None:
        if course.flight in self._courses and course.lane is not None:
            self._sent(course, course.lane, self._clock())

    def _wake_the_poor(self) -> None:
        poor, self._poor = self._poor, []
        for course in poor:
            if course.flight in self._courses:
                self._line_up(course, self._clock())
        if poor:
            self._pump()

    # -- the line ---------------------------------------------------------------------------

    def _line_up(self, course: Course, now: float) -> None:
        lanes = frozenset(course.lanes)
        pool = self._pools.get(lanes)
        if pool is None:
            pool = self._pools[lanes] = Pool()
        flight = course.flight
        course.pool = pool
        course.waiting = Waiting(
            course,
            agent=course.agent,
            level=flight.plan.level,
            since=course.began,
            cost=1.0 + course.size / (4 * COST_TOKENS),
            size=course.size,
        )
        for shed in pool.line.push(course.waiting):
            shed.item.pool = shed.item.waiting = None
            shed.item.flight.refuse(Trouble.OVERLOADED, "too many calls wait", retry_after_s=SHED_S)
        if course.pool is not None:
            self._set_timer(pool, now)
            self._patience.see(course, now)
            self._sends.lined_up(flight)

    def _pump(self) -> None:
        """Whoever may go, goes."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            for lanes, pool in tuple(self._pools.items()):
                self._pump_one(pool)
                if not pool.line.length and self._pools.get(lanes) is pool:
                    del self._pools[lanes]
                    _cancel(pool.timer)
        finally:
            self._is_pumping = False

    def _pump_one(self, pool: Pool) -> None:
        now, yielding = self._clock(), frozenset[str]()
        while (waiting := pool.line.first(now, yielding)) is not None:
            course = waiting.item
            way = self._open_way(course, now)
            if way is None and course.gives_way:
                yielding |= {waiting.agent}  # to those who had less
                continue
            if way is None:
                break
            pool.line.went(waiting)
            course.pool = course.waiting = None
            self._go(course, way, now)
        self._set_timer(pool, now)

    def _set_timer(self, pool: Pool, now: float) -> None:
        """For the time at which the first in line may go, if any is known."""
        first = pool.line.first(now)
        at = math.inf if first is None else first.item.next_at
        if pool.timer is not None and pool.next_at != at:
            pool.timer.cancel()
            pool.timer = None
        if pool.timer is None and at < math.inf:
            pool.timer = self._later(max(0.0, at - now), lambda: self._ring(pool))
        pool.next_at = at

    def _ring(self, pool: Pool) -> None:
        pool.timer = None
        self._pump()

    def _awake(self, course: Course) -> None:
        course.timer = None
        if course.flight in self._courses:
            self._try(course, self._clock())

    def _stand_aside(self, course: Course) -> None:
        """Out of every line."""
        _cancel(course.timer)
        course.timer = None
        if course.pool is not None and course.waiting is not None:
            course.pool.line.remove(course.waiting)
        course.pool = course.waiting = None
        if course in self._poor:
            self._poor.remove(course)

    # -- waiting too long -------------------------------------------------------------------

    def tick(self) -> None:
        """A few times a second: what nothing else wakes up for."""
        if not self._courses:
            return
        now = self._clock()
        self._pump()
        self._wake_the_poor()
        for pool in tuple(self._pools.values()):
            for waiting in pool.line.all():
                waiting.item.next_at = pool.next_at  # nobody goes before the first in line
                self._patience.see(waiting.item, now)


def _cancel(timer: Timer | None) -> None:
    if timer is not None:
        timer.cancel()
