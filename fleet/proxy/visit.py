"""A request on its way: which room it is in, what is known of it, and what becomes of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from fleet.core.caller import Caller
from fleet.core.traffic import Served
from fleet.core.usage import NOTHING
from fleet.proxy.answer import Answer, Plan
from fleet.proxy.bookkeeping import Books
from fleet.proxy.dialects.dialect import Asked
from fleet.proxy.head import Head
from fleet.proxy.http.server import Exchange
from fleet.proxy.singleflight import LEADER
from fleet.proxy.stage import Door, Priority, Room
from fleet.proxy.subscriber import Subscriber
from fleet.proxy.wire import Outgoing, Reply, Trouble

Step = Callable[["Visit"], None]

log = logging.getLogger(__name__)
_PRIORITIES = tuple(Priority)
_process = secrets.token_hex(4)
_numbers = itertools.count(1)


class Refused(Exception):
    """The proxy itself says no, in the words of the caller's dialect."""

    def __init__(self, trouble: Trouble, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The five stages, and how many requests may be in each at once.

    What bounds the last is `answer.AHEAD_ENTRIES` for each consumer; its places are as many as
    the server has connections.
    """

    rag: Door
    assemble: Room
    inference: Room
    postprocess: Room
    stream: Room

    @classmethod
    def usual(cls, connections: int) -> Rooms:
        return cls(
            rag=Door("rag", 512, line=512),
            assemble=Room("assemble", 512),
            inference=Room("inference", 1024),
            postprocess=Room("postprocess", 512),
            stream=Room("stream", connections),
        )

    @property
    def all(self) -> tuple[Room, ...]:
        return self.rag, self.assemble, self.inference, self.postprocess, self.stream


class Visit:
    """One request, from the door to its row in the books. Ends once, whoever ends it."""

    __slots__ = (
        "_books",
        "_clock",
        "_entered_at",
        "_is_over",
        "_line",
        "_next",
        "_numbered",
        "_room",
        "_rooms",
        "_since",
        "_verdict",
        "_waited_s",
        "answer",
        "asked",
        "caller",
        "dedup",
        "exchange",
        "head",
        "outgoing",
        "plan",
        "priority",
        "status",
        "subscriber",
    )
    head: Head  # known from the first step on

    def __init__(
        self, exchange: Exchange, rooms: Rooms, books: Books, clock: Callable[[], float]
    ) -> None:
        self.exchange = exchange
        self._rooms = rooms
        self._books = books
        self._clock = clock
        self._room: Room | None = None
        self._entered_at = self._waited_s = 0.0
        self._line: Room | None = None  # the room it waits for
        self._verdict = False  # it has a place there
        self._is_over = False
        self._numbered = ""
        self.priority = Priority.NORMAL
        self.caller: Caller | None = None
        self.asked: Asked | None = None
        self.plan: Plan | None = None
        self.outgoing: Outgoing | None = None
        self.dedup = ""
        self.answer: Answer | None = None
        self.subscriber: Subscriber | None = None
        self.status = 0

    @property
    def request_id(self) -> str:
        if not self._numbered:
            self._numbered = f"req_{_process}{next(_numbers):08x}"
        return self._numbered

    def belongs_to(self, caller: Caller, urgency: Priority) -> None:
        """A request may be less urgent than its task, and not more."""
        self.caller = caller
        self.priority = _PRIORITIES[min(max(caller.priority, urgency), Priority.LOW)]

    def take(self, step: Step) -> None:
        """One step of its way; what goes wrong there is its answer."""
        if self._is_over:
            return
        try:
            step(self)
        except Refused as refused:
            self.refuse(refused)
        except Exception:
            log.exception("a request could not be served")
            self.refuse(Refused(Trouble.INTERNAL, "the proxy failed: its log says why"))

    # -- rooms ------------------------------------------------------------------------------

    def enter(self, room: Room, step: Step) -> None:
        """Go on with `step` once there is a place, and keep the place before until then."""
        now = self._clock()
        if room.enter(self.priority, now, self._go, self._shed):
            if self._room is not None:
                self._room.leave(self._entered_at, now)
            self._room, self._entered_at = room, now
            step(self)
        else:
            self._line, self._since, self._next, self._verdict = room, now, step, False

    def _go(self) -> None:
        """There is a place, and it is ours; the room is in the middle of something."""
        self._verdict = True
        asyncio.get_running_loop().call_soon(self._admitted)

    def _shed(self) -> None:
        asyncio.get_running_loop().call_soon(self._turned_away)

    def _admitted(self) -> None:
        room = self._line
        if room is None:
            return  # the client left meanwhile, and so did we
        now, self._line = self._clock(), None
        self._waited_s += now - self._since
        if self._room is not None:
            self._room.leave(self._entered_at, now)
        self._room, self._entered_at = room, now
        self.take(self._next)

    def _turned_away(self) -> None:
        room = self._line
        if room is not None:
            self._line = None
            after = room.retry_after_s(self._clock(), random.Random())
            self.refuse(
                Refused(Trouble.OVERLOADED, "too many requests at once", retry_after_s=after)
            )

    def _streams(self) -> None:
        """The first piece of its answer goes out: it needs its place in inference no more."""
        now, room = self._clock(), self._rooms.stream
        if self._room is not None:
            self._room.leave(self._entered_at, now)
        self._room = room if room.enter(self.priority, now, _never) else None
        self._entered_at = now

    # -- the answer -------------------------------------------------------------------------

    def subscribe(self, answer: Answer, plan: Plan) -> None:
        self.answer = answer
        self.outgoing = None
        self.subscriber = Subscriber(
            self.exchange,
            plan.caller,
            stream=plan.asked.stream,
            wants_usage=plan.asked.wants_usage,
            dedup=self.dedup.encode(),
            filler=self._filler,
            on_start=self._streams,
            on_done=self._close,
        )
        answer.board(self.subscriber)

    def _filler(self) -> bytes:
        agent = self.exchange.request.header(b"user-agent").decode("latin-1")
        return self.head.place.dialect.keepalive(agent)

    def reply(self, reply: Reply) -> None:
        self.status = reply.status
        self.exchange.reply(reply)
        self._close()

    def refuse(self, refused: Refused) -> None:
        """If nothing was said yet; else a cut is all that is left to say."""
        if self._is_over:
            return
        if self.subscriber is not None and self.subscriber.started:
            self.exchange.abort()
            self._close()
            return
        self.reply(
            self.head.place.dialect.refusal(
                refused.trouble,
                str(refused),
                request_id=self.request_id,
                retry_after_s=refused.retry_after_s,
                retry=True if refused.retry_after_s is not None else None,
            )
        )

    def gone(self) -> None:
        """The client is; the call, if there is one, goes on for others or for its return."""
        self._close()

    def _close(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        # Whoever holds us is held by us: without this, a body lives until the next collection.
        self.exchange.on_gone = self.exchange.on_writable = None
        now, line = self._clock(), self._line
        if line is not None:
            self._line = None
            if not line.give_up(self._go) and self._verdict:
                line.leave(now, now)
        if self._room is not None:
            self._room.leave(self._entered_at, now)
        if self.answer is not None and self.subscriber is not None:
            self.answer.leave(self.subscriber)
        self._write_down(now)
        self.answer = self.subscriber = self.plan = None

    def _write_down(self, now: float) -> None:
        caller, asked, answer, subscriber = self.caller, self.asked, self.answer, self.subscriber
        if caller is None:
            self._books.turned_away(self.status)
            return
        status, sent, quote = self.status, 0, None
        saved, saved_cost = NOTHING, 0
        if answer is not None and subscriber is not None:
            status, sent = subscriber.status, subscriber.bytes_out
            if subscriber.is_done and self.dedup != LEADER and answer.plan.key is not None:
                saved, quote = answer.usage, answer.plan.quote
                saved_cost = quote.cost(saved)
        self._books.served(
            Served(
                time.time() - (now - self.exchange.received),
                caller.task,
                caller.epoch,
                caller.agent,
                self.head.session.decode("utf-8", "replace"),
                asked.endpoint if asked is not None else self.head.place.endpoint or "",
                asked.model if asked is not None else "",
                self.dedup,
                answer.call_id if answer is not None else 0,
                status,
                self.exchange.gone,
                sent,
                saved,
                saved_cost,
                self._waited_s,
                now - self.exchange.received,
                quote is None or quote.priced,
            ),
            quote,
        )


def _never() -> None:
    """The last room has as many places as the server has connections."""
