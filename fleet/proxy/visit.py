"""A request on its way: which room it is in, what is known of it, and what becomes of it."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from fleet.core.caller import Caller
from fleet.core.traffic import Served
from fleet.core.usage import NOTHING
from fleet.proxy.bookkeeping import Books
from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Asked
from fleet.proxy.dialects.table import Place
from fleet.proxy.flight import Flight
from fleet.proxy.http.server import Exchange
from fleet.proxy.stage import Door, Priority, Room
from fleet.proxy.subscriber import Subscriber
from fleet.proxy.wire import Reply, Trouble

SHARED = (b"joined", b"replayed")
NOWHERE = Place(table.CHAT)
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

    What bounds the last is `flight.AHEAD_ENTRIES` for each consumer; its places are as many as
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
    """One request, from the door to its row in the books."""

    __slots__ = (
        "_admitted",
        "_clock",
        "_entered_at",
        "_numbered",
        "_room",
        "_rooms",
        "_turn",
        "_waited_s",
        "asked",
        "caller",
        "dedup",
        "done",
        "exchange",
        "flight",
        "place",
        "priority",
        "session",
        "status",
        "subscriber",
    )

    def __init__(self, exchange: Exchange, rooms: Rooms, clock: Callable[[], float]) -> None:
        self.exchange = exchange
        self._rooms = rooms
        self._clock = clock
        self._room: Room | None = None
        self._entered_at = self._waited_s = 0.0
        self._admitted: bool | None = None
        self._turn: asyncio.Future[None] | None = None
        self._numbered = ""
        self.place = NOWHERE
        self.priority = Priority.NORMAL
        self.caller: Caller | None = None
        self.asked: Asked | None = None
        self.session = b""
        self.dedup = b""
        self.flight: Flight | None = None
        self.subscriber: Subscriber | None = None
        self.done: asyncio.Future[None] | None = None
        self.status = 0

    @property
    def request_id(self) -> str:
        if not self._numbered:
            self._numbered = f"req_{_process}{next(_numbers):08x}"
        return self._numbered

    def belongs_to(self, caller: Caller) -> None:
        self.caller = caller
        self.priority = _PRIORITIES[min(caller.priority, Priority.LOW)]

    # -- rooms ------------------------------------------------------------------------------

    async def enter(self, room: Room) -> None:
        """Keeps the place before until there is one here. Refused at the door, if anywhere."""
        now = self._clock()
        if not room.enter(self.priority, now, self._go, self._shed):
            await self._wait(room, now)
            now = self._clock()
        if self._room is not None:
            self._room.leave(self._entered_at, now)
        self._room, self._entered_at = room, now

    async def _wait(self, room: Room, since: float) -> None:
        try:
            if self._admitted is None:
                self._turn = asyncio.get_running_loop().create_future()
                await self._turn
        except asyncio.CancelledError:
            if not room.give_up(self._go) and self._admitted:
                room.leave(self._clock(), self._clock())
            raise
        finally:
            self._turn = None
            self._waited_s += self._clock() - since
        admitted, self._admitted = self._admitted, None
        if not admitted:
            after = room.retry_after_s(self._clock(), random.Random())
            raise Refused(Trouble.OVERLOADED, "too many requests at once", retry_after_s=after)

    def _go(self) -> None:
        self._decide(True)

    def _shed(self) -> None:
        self._decide(False)

    def _decide(self, admitted: bool) -> None:
        self._admitted = admitted
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _move(self, room: Room | None) -> None:
        """Between rooms that have a place for everyone."""
        now = self._clock()
        if self._room is not None:
            self._room.leave(self._entered_at, now)
        if room is not None:
            room.enter(self.priority, now, self._go)
        self._room, self._entered_at = room, now

    # -- the answer -------------------------------------------------------------------------

    def subscribe(self, flight: Flight, caller: Caller, asked: Asked) -> None:
        self.flight = flight
        self.subscriber = Subscriber(
            self.exchange,
            caller,
            stream=asked.stream,
            wants_usage=asked.wants_usage,
            dedup=self.dedup,
            on_start=self._streams,
            on_done=self._finished,
        )
        flight.board(self.subscriber)

    async def finish(self) -> None:
        """Until the client has all of it."""
        if self.subscriber is not None and not self.subscriber.is_done:
            self.done = asyncio.get_running_loop().create_future()
            await self.done

    def _streams(self) -> None:
        self._move(self._rooms.stream)

    def _finished(self) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def reply(self, reply: Reply) -> None:
        self.status = reply.status
        self.exchange.reply(reply)

    def refuse(self, refused: Refused) -> None:
        """If nothing was said yet; else a cut is all that is left to say."""
        if self.subscriber is not None and self.subscriber.started:
            self.exchange.abort()
            return
        reply = self.place.dialect.refusal(
            refused.trouble,
            str(refused),
            request_id=self.request_id,
            retry_after_s=refused.retry_after_s,
            retry=True if refused.retry_after_s is not None else None,
        )
        self.reply(reply)

    def close(self, books: Books) -> None:
        """Leave what it is in, and be written down."""
        flight, subscriber = self.flight, self.subscriber
        if flight is not None and subscriber is not None:
            flight.leave(subscriber)
        self._move(None)
        if self.caller is None or self.asked is None:
            books.turned_away(self.status)
            return
        done = subscriber is not None and subscriber.is_done
        shared = self.dedup in SHARED and done and flight is not None
        books.served(
            Served(
                at=time.time(),
                task=self.caller.task,
                epoch=self.caller.epoch,
                agent=self.caller.agent,
                session=self.session.decode("utf-8", "replace"),
                endpoint=self.asked.endpoint,
                model=self.asked.model,
                dedup=self.dedup.decode(),
                call=flight.call_id if flight is not None else 0,
                status=subscriber.status if subscriber is not None else self.status,
                gone=self.exchange.gone,
                bytes=subscriber.bytes_out if subscriber is not None else 0,
                saved=flight.usage if shared and flight is not None else NOTHING,
                saved_cost=flight.cost if shared and flight is not None else 0,
                wait_s=self._waited_s,
                total_s=self._clock() - self.exchange.received,
                priced=not shared or flight is None or flight.plan.quote.priced,
            ),
            flight.plan.quote if shared and flight is not None else None,
        )
