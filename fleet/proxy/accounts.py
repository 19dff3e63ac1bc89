"""What becomes of a call once it is over: what it used, what that costs, its row in the books."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from fleet.core.traffic import Call, Ended
from fleet.core.usage import NOTHING
from fleet.proxy.bookkeeping import Books
from fleet.proxy.flight import Flight
from fleet.proxy.loop_watch import LoopWatch
from fleet.proxy.stage import Priority, Room
from fleet.proxy.treasury import Treasury
from fleet.proxy.wire import Fault

MODEL_WITHIN = 4096  # bytes of an answer
_MODEL = re.compile(rb'"model(?:Version)?" ?: ?"([^"\\]{1,200})"')


class Accounts:
    """The post-process stage, the only one that calls walk through and not requests."""

    def __init__(
        self,
        *,
        books: Books,
        room: Room,
        treasury: Treasury,
        watch: LoopWatch,
        next_id: int,
        clock: Callable[[], float],
    ) -> None:
        self._books = books
        self._treasury = treasury
        self._watch = watch
        self._room = room
        self._next_id = next_id
        self._clock = clock

    def number(self) -> int:
        """Of the next call."""
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    def settle(self, flight: Flight) -> None:
        """Once for every time it was sent."""
        began = self._clock()
        self._room.enter(Priority.NORMAL, began, _nobody_waits)
        flight.usage = flight.meter.usage if flight.status == 200 else NOTHING
        quote = flight.plan.quote
        cost = quote.cost(flight.usage)
        reserved = self._treasury.reserved(flight.call_id)
        if reserved and _is_unknown(flight):
            cost = reserved  # the provider may have charged for it: nobody can say how much
        row = _row(flight, began, cost)
        self._books.call(row, None if reserved else quote)
        if reserved or quote.price is not None:
            self._treasury.settle(flight.call_id, cost)
        if flight.ended is Ended.COMPLETE and flight.caller.task:
            self._watch.answered(flight, began)
        self._room.leave(began, self._clock())


def _is_unknown(flight: Flight) -> bool:
    """It was sent, and neither an answer nor a refusal says what was used."""
    if flight.usage or flight.status >= 400:
        return False
    never_left = flight.failure is not None and flight.failure.fault is Fault.CONNECT
    return flight.ended is not Ended.COMPLETE and not never_left


def _row(flight: Flight, now: float, cost: int) -> Call:
    plan, caller, failure = flight.plan, flight.caller, flight.failure
    return Call(
        id=flight.call_id,
        at=time.time() - (now - flight.sent_at),
        task=caller.task,
        epoch=caller.epoch,
        agent=caller.agent,
        upstream=plan.provider.name,
        model=plan.asked.model,
        answered_model=_model_in(flight.log) if flight.status == 200 else "",
        endpoint=plan.asked.endpoint,
        status=flight.status,
        ended=flight.ended or Ended.FAILED,  # not over: it is sent again, and this time failed
        fault=failure.fault if failure is not None else "",
        usage=flight.usage,
        cost=cost,
        priced=plan.quote.priced,
        first_byte_s=flight.head_at - flight.sent_at if flight.head_at else 0.0,
        total_s=now - flight.sent_at,
        bytes_in=flight.bytes_in,
        bytes_out=flight.bytes_out,
    )


def _model_in(log: list[bytes]) -> str:
    """Who answered, as the answer itself says: it may be a dated version of what was asked."""
    found = _MODEL.search(log[0], 0, MODEL_WITHIN) if log else None
    return found[1].decode("utf-8", "replace") if found else ""


def _nobody_waits() -> None:
    """One call is settled at a time."""
