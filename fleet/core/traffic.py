"""What is written down of model traffic: calls to upstreams, requests of agents, and their sums.

Pure. Money is whole nano-dollars (1e-9 USD), so sums are exact. The rows are named tuples, not
frozen dataclasses: two are made for every request, at a sixth of the price.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import NamedTuple

from fleet.core.task import TaskId
from fleet.core.usage import NOTHING, Usage

NANO = 1_000_000_000  # to the dollar
LEADER, JOINED, REPLAYED, BYPASS = "leader", "joined", "replayed", "bypass"


class Ended(StrEnum):
    """How a call ended."""

    COMPLETE = "complete"
    REFUSED = "refused"  # the upstream answered with a status of 400 or more
    FAILED = "failed"  # no answer began
    CUT = "cut"  # an answer began, and did not come to its end
    CANCELLED = "cancelled"  # by us: nobody waited for it any more
    LOST = "lost"  # the proxy was killed under it: charged with the most it can have cost


class Call(NamedTuple):
    """One call to an upstream, whatever became of it."""

    id: int  # grows; never used twice in one database
    at: float  # POSIX s, when it was sent
    task: TaskId  # of who led it
    epoch: int
    agent: str
    upstream: str
    model: str  # as asked
    answered_model: str
    endpoint: str
    status: int  # 0: none came
    ended: Ended
    fault: str  # "" unless it failed
    usage: Usage
    cost: int
    priced: bool  # False: the price is unknown, and cost says nothing
    first_byte_s: float  # after `at`; 0: none came
    total_s: float
    bytes_in: int  # from the upstream
    bytes_out: int  # to it


class Reservation(NamedTuple):
    """Money that is set aside for a call, before it is sent."""

    id: int  # the call's
    at: float  # POSIX s
    task: TaskId
    epoch: int
    agent: str
    upstream: str
    model: str
    endpoint: str
    amount: int  # nano-dollars: the most it can cost


class Void(NamedTuple):
    """A reservation whose call was never sent."""

    id: int


class Served(NamedTuple):
    """One request that an agent made, also when it did not wait for the answer."""

    at: float  # POSIX s, when it had come whole
    task: TaskId
    epoch: int
    agent: str
    session: str
    endpoint: str
    model: str
    dedup: str  # LEADER, JOINED, REPLAYED, "bypass:" and why; "": it never got so far
    call: int  # whose answer it got; 0: none
    status: int  # 0: none was sent
    gone: bool  # before the answer's end
    bytes: int  # of the answer
    saved: Usage  # what it would have used, had it not been joined or replayed
    saved_cost: int
    wait_s: float  # for places in rooms
    total_s: float
    priced: bool = True  # False: saved_cost says nothing


def plus(one: Usage, two: Usage) -> Usage:
    """The sum; estimated if a part of it is."""
    return Usage(
        input=one.input + two.input,
        cache_read=one.cache_read + two.cache_read,
        cache_write_5m=one.cache_write_5m + two.cache_write_5m,
        cache_write_1h=one.cache_write_1h + two.cache_write_1h,
        output=one.output + two.output,
        reasoning=one.reasoning + two.reasoning,
        estimated=one.estimated or two.estimated,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a set of rows comes to. Sums of parts are the sum of the whole."""

    requests: int = 0
    led: int = 0
    joined: int = 0
    replayed: int = 0
    bypassed: int = 0
    gone: int = 0
    saved: Usage = NOTHING
    saved_cost: int = 0
    saved_unpriced: int = 0  # requests whose saving has no known price
    calls: int = 0
    incomplete: int = 0  # calls that did not end as complete
    usage: Usage = NOTHING
    cost: int = 0
    unpriced: int = 0  # calls that used tokens whose price is unknown

    @property
    def turned_away(self) -> int:
        """Requests that never got so far as to need an answer: refusals, probes, lists."""
        return self.requests - self.led - self.joined - self.replayed - self.bypassed

    @property
    def cache_hit_share(self) -> float:
        """Of all input, what the providers' prompt caches had."""
        total = self.usage.total_input
        return self.usage.cache_read / total if total else 0.0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            saved=plus(self.saved, other.saved),
            usage=plus(self.usage, other.usage),
            **{name: getattr(self, name) + getattr(other, name) for name in _COUNTS},
        )

    def with_call(self, call: Call) -> Totals:
        return self + Totals(
            calls=1,
            incomplete=int(call.ended != Ended.COMPLETE),
            usage=call.usage,
            cost=call.cost,
            unpriced=int(not call.priced and bool(call.usage)),
        )

    def with_served(self, served: Served) -> Totals:
        dedup = served.dedup
        return self + Totals(
            requests=1,
            led=int(dedup == LEADER),
            joined=int(dedup == JOINED),
            replayed=int(dedup == REPLAYED),
            bypassed=int(dedup.startswith(BYPASS)),
            gone=int(served.gone),
            saved=served.saved,
            saved_cost=served.saved_cost,
            saved_unpriced=int(not served.priced and bool(served.saved)),
        )


_COUNTS = tuple(field.name for field in fields(Totals) if field.type == "int")


def fold(rows: Iterable[Call | Served]) -> Totals:
    found = Totals()
    for row in rows:
        found = found.with_call(row) if isinstance(row, Call) else found.with_served(row)
    return found
