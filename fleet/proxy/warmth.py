"""The gate before a provider's prompt cache: of those who need it written, one goes first.

A provider can read a prefix from its cache only when it has begun to answer somebody who wrote it.
So while a prefix is cold, its first caller leads and the others wait for the first sign of an
answer: one pays for the write, the rest read. Waiting is bounded: `CAP_S` after the leader was
dispatched (not while it queues itself) all go. A leader without an answer hands over to exactly
one of those who wait.

Pure. `go` of a ticket is called once at most, from within the event that lets it go; it may call
back, but must not raise. Events come with a time that does not go back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

CAP_S = 4.0
WARM_S = 300.0  # providers keep a prefix for five minutes after its last use
MOST_WARM = 8192  # prefixes remembered; one costs about 400 bytes


class PrefixKey(NamedTuple):
    """Whose cache holds what."""

    prefix: bytes
    account: str
    model: str


class Go(Enum):
    NOW = "now"
    WAIT = "wait"


class Ticket:
    """One call at the gate."""

    __slots__ = ("go",)

    def __init__(self, go: Callable[[], None]) -> None:
        self.go = go


class _Warming:
    """A prefix that is being written, and who waits for that."""

    __slots__ = ("is_handing_over", "is_open", "leader", "waiting")

    def __init__(self, leader: Ticket) -> None:
        self.leader: Ticket | None = leader
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()
        self.is_open = False  # the cap has passed: nobody waits any more
        self.is_handing_over = False


class Warmth:
    def __init__(
        self, *, cap_s: float = CAP_S, warm_s: float = WARM_S, most_warm: int = MOST_WARM
    ) -> None:
        self._cap_s = cap_s
        self._warm_s = warm_s
        self._most_warm = most_warm
        self._warm: OrderedDict[PrefixKey, float] = OrderedDict()  # until when, first to go first
        self._warming: dict[PrefixKey, _Warming] = {}
        self._deadlines: OrderedDict[PrefixKey, float] = OrderedDict()  # first to come first

    def __len__(self) -> int:
        return len(self._warm) + len(self._warming)

    @property
    def waiting(self) -> int:
        return sum(len(warming.waiting) for warming in self._warming.values())

    def ask(self, key: PrefixKey, ticket: Ticket, now: float) -> Go:
        """NOW: dispatch it (`go` will not be called). WAIT: dispatch it when `go` is called."""
        until = self._warm.get(key)
        if until is not None and now < until:
            return Go.NOW
        warming = self._warming.get(key)
        if warming is None:
            self._warming[key] = _Warming(ticket)
            return Go.NOW
        if warming.is_open or now >= self._deadlines.get(key, float("inf")):
            return Go.NOW
        warming.waiting[ticket] = None
        return Go.WAIT

    # -- what happened to a call ------------------------------------------------------------

    def dispatched(self, key: PrefixKey, ticket: Ticket, now: float) -> None:
        """On its way. A leader's first time counts if it is sent again."""
        warming = self._warming.get(key)
        if warming is None or warming.leader is not ticket or warming.is_open:
            return
        if key not in self._deadlines:
            self._deadlines[key] = now + self._cap_s

    def answered(self, key: PrefixKey, ticket: Ticket, now: float) -> None:
        """The first sign of a good answer, to whomever: the prefix is warm, or still is."""
        self._warm[key] = now + self._warm_s
        self._warm.move_to_end(key)
        if len(self._warm) > self._most_warm:
            self._warm.popitem(last=False)
        self._deadlines.pop(key, None)
        warming = self._warming.pop(key, None)
        if warming is not None:
            _release(warming)

    def failed(self, key: PrefixKey, ticket: Ticket, now: float) -> None:
        """It got no good answer, or was cancelled: if it led, one other leads now."""
        self.left(key, ticket)

    def left(self, key: PrefixKey, ticket: Ticket) -> None:
        """It gave up, waiting or leading. Without effect for any other."""
        warming = self._warming.get(key)
        if warming is None:
            return
        if warming.leader is ticket:
            self._deadlines.pop(key, None)
            self._hand_over(key, warming)
        else:
            warming.waiting.pop(ticket, None)

    def _hand_over(self, key: PrefixKey, warming: _Warming) -> None:
        """A new leader may fail within its `go`: the loop below then goes on, not the stack."""
        warming.leader = None
        if warming.is_handing_over:
            return
        warming.is_handing_over = True
        while warming.leader is None and warming.waiting:
            warming.leader, _ = warming.waiting.popitem(last=False)
            warming.leader.go()
        warming.is_handing_over = False
        if warming.leader is None and self._warming.get(key) is warming:
            del self._warming[key]

    # -- time -------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `due` will have somebody to let go."""
        return next(iter(self._deadlines.values()), None)

    def due(self, now: float) -> None:
        """Lets go of those who waited long enough, and forgets what has grown cold."""
        while self._deadlines:
            key, deadline = next(iter(self._deadlines.items()))
            if now < deadline:
                break
            del self._deadlines[key]
            warming = self._warming[key]
            warming.is_open = True
            _release(warming)
        while self._warm:
            key, until = next(iter(self._warm.items()))
            if now < until:
                break
            del self._warm[key]


def _release(warming: _Warming) -> None:
    while warming.waiting:
        ticket, _ = warming.waiting.popitem(last=False)
        ticket.go()
