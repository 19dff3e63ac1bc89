"""One upstream call and everybody who waits for its answer.

A flight belongs to no client. Upstream bytes reach it by plain calls, are cut into whole events,
looked at once by the meter, and kept in a log; every subscriber is a cursor into that log with its
own rendering: as it came, folded into one JSON body, or unfolded into events. Until the first
event with content the answer is held back, so that an error can still become a clean status.
After that nothing is ever spliced: an answer that breaks ends with an error event, for everyone.

Of a flight that is over the cache keeps what is left; replaying is boarding late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from fleet.core.caller import Caller
from fleet.core.traffic import Ended
from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects.dialect import Asked, Dialect, Sort
from fleet.proxy.fingerprint import Key
from fleet.proxy.headers import for_client
from fleet.proxy.kept import Kept
from fleet.proxy.pricing import Quote
from fleet.proxy.providers import Provider
from fleet.proxy.sse import Splitter
from fleet.proxy.subscriber import Readers, Subscriber
from fleet.proxy.wire import (
    Failure,
    Fault,
    Headers,
    Outgoing,
    Reply,
    Sending,
    Trouble,
    Upstream,
    header,
)

SHARED_BYTES = 8 << 20  # a longer answer goes to those aboard, and to nobody else
AHEAD_ENTRIES = 256  # unsent to the fastest subscriber: then the upstream has to wait
EVENT_STREAM = b"text/event-stream"
MESSAGE_BYTES = 300  # of a provider's words in an error of ours


_NOTHING = Outgoing("", "", ())


class Form(Enum):
    """What the upstream sends."""

    UNKNOWN = "unknown"
    STREAM = "stream"  # events
    WHOLE = "whole"  # a body, given out when it is complete
    RAW = "raw"  # bytes that cannot be read or are too many: passed on as they come


@dataclass(slots=True, kw_only=True)
class Plan:
    """What is asked, of whom, and for whom at first. Never changed; not frozen, for that doubles
    what making one costs, and one is made for every request."""

    upstream: Upstream
    provider: Provider
    account: str  # which key or replica of it
    dialect: Dialect
    asked: Asked
    stream: bool  # as it is sent, which may not be as it was asked
    key: Key | None  # None: nobody may share this answer
    prefix: bytes
    caller: Caller
    quote: Quote
    hides_usage: bool = False  # the usage chunk was our wish, not the client's


class Control(Protocol):
    """Who keeps the flights: told of every turn, in this order."""

    def answered(self, flight: Flight) -> None: ...  # a first sign of an answer with status 200
    def unshared(self, flight: Flight) -> None: ...  # nobody may board any more
    def over(self, flight: Flight) -> None: ...  # before subscribers hear of it
    def retries(self, flight: Flight) -> bool: ...  # whether a lost call is made once more
    def deserted(self, flight: Flight) -> None: ...  # the last subscriber has left


class Flight:
    """A `Sink`. `log[:released]` is what subscribers may have."""

    __slots__ = (
        "account",
        "answered_at",
        "body",
        "bytes_in",
        "bytes_out",
        "call_id",
        "caller",
        "clock",
        "consumed",
        "control",
        "cost",
        "deserted_at",
        "ended",
        "failure",
        "folded",
        "form",
        "head_at",
        "headers",
        "hidden",
        "is_over",
        "log",
        "made_at",
        "meter",
        "outgoing",
        "paused",
        "plan",
        "released",
        "reply",
        "sending",
        "sent_at",
        "splitter",
        "status",
        "subscribers",
        "unfolded",
        "usage",
    )

    def __init__(
        self, plan: Plan, outgoing: Outgoing, control: Control, clock: Callable[[], float]
    ) -> None:
        self.plan = plan
        self.outgoing: Outgoing | None = outgoing  # until it is over: bodies are large
        self.control = control
        self.clock = clock
        self.meter = plan.dialect.meter(plan.asked)
        self.splitter: Splitter | None = None
        self.caller = plan.caller  # whom the call is charged to
        self.call_id = 0
        self.made_at = clock()
        self.sent_at = self.head_at = 0.0
        self.sending: Sending | None = None
        self.status = 0
        self.headers: Headers = ()
        self.form = Form.UNKNOWN
        self.log: list[bytes] = []
        self.hidden: set[int] = set()  # entries only for those who asked for usage
        self.released = 0
        self.bytes_in = 0
        self.bytes_out = len(outgoing.body)
        self.subscribers: list[Subscriber] = []
        self.consumed: Readers = set()  # callers that have had this answer to its end
        self.paused = False
        self.is_over = False
        self.ended: Ended | None = None
        self.failure: Failure | None = None
        self.reply: Reply | None = None  # a refusal of ours, in place of what came
        self.body: bytes | None = None
        self.folded: bytes | None = None
        self.unfolded: tuple[bytes, ...] | None = None
        self.usage: Usage = NOTHING
        self.cost = 0
        self.deserted_at: float | None = None

    # -- subscribers ------------------------------------------------------------------------

    def board(self, subscriber: Subscriber) -> None:
        """From the beginning, whenever it comes."""
        subscriber.flight = self
        self.subscribers.append(subscriber)
        self.deserted_at = None
        if self.released or self.is_over:
            subscriber.push()

    def leave(self, subscriber: Subscriber) -> None:
        """It has all it wanted, or its client is gone. The call goes on for the others."""
        if subscriber not in self.subscribers:
            return
        self.subscribers.remove(subscriber)
        if self.is_over:
            return
        if not self.subscribers:
            self.resume()  # nobody is slow any more
            self.control.deserted(self)
        elif subscriber.caller.key == self.caller.key:
            self.caller = self.subscribers[0].caller  # handed over

    def resume(self) -> None:
        """Read on when the fastest subscriber has caught up."""
        if self.paused and self.sending is not None and self._ahead() < AHEAD_ENTRIES // 2:
            self.paused = False
            self.sending.resume()

    def _ahead(self) -> int:
        return self.released - max((s.cursor for s in self.subscribers), default=self.released)

    def _push(self) -> None:
        for subscriber in tuple(self.subscribers):
            subscriber.push()
        if self.subscribers and not self.paused and self._ahead() > AHEAD_ENTRIES:
            self.paused = True
            if self.sending is not None:
                self.sending.pause()

    # -- what the upstream says -------------------------------------------------------------

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers, self.head_at = status, for_client(headers), self.clock()
        encoded = header(headers, b"content-encoding") not in (b"", b"identity")
        if encoded:
            self._make_raw()
        elif status == 200 and header(headers, b"content-type").startswith(EVENT_STREAM):
            self.form, self.splitter = Form.STREAM, Splitter()
        else:
            self.form = Form.WHOLE
        if status == 200:
            self.control.answered(self)

    def data(self, data: bytes) -> None:
        self.bytes_in += len(data)
        if self.splitter is not None:
            self._events(self.splitter.feed(data))
            if self.splitter.overflow:
                self._give_up("the provider sent an event too long to read")
        elif self.form is Form.WHOLE:
            self.log.append(data)
        else:
            self.log.append(data)
            self.released = len(self.log)
            self._push()
            self._forget()
        if self.bytes_in > SHARED_BYTES and self.form is not Form.RAW:
            self._outgrow()

    def _events(self, events: list[bytes]) -> None:
        log, judge, content = self.log, self.meter.event, False
        for event in events:
            sort = judge(event)
            if sort is Sort.CONTENT or sort is Sort.END:
                content = True
            elif sort is Sort.USAGE and self.plan.hides_usage:
                self.hidden.add(len(log))
            elif sort is Sort.ERROR:
                self._gave_up_within(event)
                return
            log.append(event)
        if content or self.released:
            self.released = len(log)
            self._push()

    def release(self) -> None:
        """The first content is long in coming: let go of what there is, and of a clean status."""
        if self.form is Form.STREAM and not self.released and self.log:
            self.released = len(self.log)
            self._push()

    def end(self) -> None:
        if self.splitter is not None:
            if not self.meter.ended and self.splitter.rest:
                self._events([self.splitter.rest])
            if self.is_over:
                return
            if not self.meter.ended:
                self._give_up("the provider's stream ended before its answer did")
                return
        elif self.form is Form.WHOLE and self.status == 200:
            self.meter.whole(self.whole())
        self._finish(Ended.COMPLETE if self.status < 400 else Ended.REFUSED)

    def failed(self, failure: Failure) -> None:
        self.failure = failure
        if not failure.answered and not self.is_over and self.control.retries(self):
            return
        trouble, what = _told(failure)
        self._give_up(what, trouble)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        if self.is_over:
            return
        if self.sending is not None:
            self.sending.cancel()
        self._finish(Ended.CANCELLED)

    def refuse(self, trouble: Trouble, message: str, *, retry_after_s: int | None = None) -> None:
        """It never left."""
        self.reply = self._refusal(trouble, message, retry_after_s)
        self._finish(Ended.FAILED)

    # -- endings ----------------------------------------------------------------------------

    def _gave_up_within(self, event: bytes) -> None:
        """An error event: the provider's own words if they can still be a status, else as it is."""
        if self.sending is not None:
            self.sending.cancel()
        self.failure = Failure(Fault.PROTOCOL, "error event", answered=True)
        trouble = Trouble.OVERLOADED if b"overloaded" in event else Trouble.UPSTREAM
        said = event.decode("utf-8", "replace").strip()[:MESSAGE_BYTES]
        self.reply = self._refusal(trouble, f"the provider ended its answer: {said}")
        if self.released:
            self.log.append(event)
        self._finish(Ended.CUT)

    def _give_up(self, what: str, trouble: Trouble = Trouble.UPSTREAM) -> None:
        if self.is_over:
            return
        if self.sending is not None:
            self.sending.cancel()
        self.reply = self._refusal(trouble, what)
        if self.released and self.form is Form.STREAM:
            self.log.append(self.plan.dialect.broken(what))
        self._finish(Ended.CUT if self.head_at else Ended.FAILED)

    def _finish(self, ended: Ended) -> None:
        self.is_over, self.ended = True, ended
        self.sending = self.outgoing = None
        if self.released or self.reply is None:
            self.released = len(self.log)
        self.control.over(self)
        for subscriber in tuple(self.subscribers):
            subscriber.push()

    def _refusal(self, trouble: Trouble, message: str, retry_after_s: int | None = None) -> Reply:
        return self.plan.dialect.refusal(
            trouble,
            message,
            request_id=f"req_call_{self.call_id}",
            retry_after_s=retry_after_s,
            retry=True,
        )

    # -- the log ----------------------------------------------------------------------------

    def whole(self) -> bytes:
        """The body as it came."""
        if self.body is None:
            self.body = self.log[0] if len(self.log) == 1 else b"".join(self.log)
        return self.body

    def as_json(self) -> bytes | None:
        """One body for what came as a stream; None when it does not add up."""
        if self.folded is None and self.ended is Ended.COMPLETE:
            self.folded = self.plan.dialect.fold(Splitter().feed(self.whole()))
        return self.folded

    def as_events(self, *, usage: bool) -> tuple[bytes, ...] | None:
        """Events for what came in one piece, with the usage chunk for those who asked for it."""
        if self.unfolded is None and self.ended is Ended.COMPLETE:
            self.unfolded = self.plan.dialect.unfold(self.whole())
        if self.unfolded is None or usage:
            return self.unfolded
        judge = self.plan.dialect.meter(self.plan.asked).event
        return tuple(event for event in self.unfolded if judge(event) is not Sort.USAGE)

    @property
    def well_formed(self) -> bool:
        """Asked before an answer is given to somebody it was not made for; remembered."""
        return self.form is not Form.STREAM or self.as_json() is not None

    @property
    def streams(self) -> bool:
        return self.form is Form.STREAM or self.form is Form.RAW

    @property
    def readable(self) -> bool:
        return self.form is not Form.RAW

    @property
    def asked_stream(self) -> bool:
        return self.plan.stream

    @property
    def broken(self) -> Reply:
        """For those who cannot be given a rendering of what came."""
        return self._refusal(Trouble.UPSTREAM, "the provider's answer cannot be read")

    def kept(self) -> Kept:
        """What is left of it for those who come later; who is aboard will be among its readers."""
        log, hidden = _compact(self.log, self.hidden) if self.splitter else (tuple(self.log), ())
        kept = Kept(
            headers=self.headers,
            log=log,
            hidden=hidden,
            streams=self.plan.stream,
            usage=self.usage,
            cost=self.cost,
            call_id=self.call_id,
            consumed=(),
        )
        self.consumed = kept
        return kept

    @classmethod
    def again(cls, kept: Kept, plan: Plan, control: Control, clock: Callable[[], float]) -> Flight:
        """One that is over before it is boarded. `plan` is that of who asks now."""
        flight = cls(replace(plan, stream=kept.streams), _NOTHING, control, clock)
        flight.status, flight.headers = 200, kept.headers
        is_stream = header(kept.headers, b"content-type").startswith(EVENT_STREAM)
        flight.form = Form.STREAM if is_stream else Form.WHOLE
        flight.log, flight.hidden = list(kept.log), set(kept.hidden)
        flight.released = len(flight.log)
        flight.usage, flight.cost, flight.call_id = kept.usage, kept.cost, kept.call_id
        flight.is_over, flight.ended = True, Ended.COMPLETE
        flight.consumed = kept
        return flight

    def _outgrow(self) -> None:
        """Too long to keep: those aboard go on, and what all of them have is forgotten."""
        self.control.unshared(self)
        if self.form is Form.WHOLE:
            self._make_raw()
            self.released = len(self.log)
            self._push()
        self._forget()

    def _make_raw(self) -> None:
        self.form = Form.RAW
        self.control.unshared(self)

    def _forget(self) -> None:
        if all(s.verbatim for s in self.subscribers):
            behind = min((s.cursor for s in self.subscribers), default=0)
            for at in range(behind - 1, -1, -1):
                if not self.log[at]:
                    break
                self.log[at] = b""


def _compact(log: list[bytes], hidden: set[int]) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """Few long pieces in place of many short ones, cut only around what is hidden."""
    pieces: list[bytes] = []
    places: list[int] = []
    start = 0
    for at in (*sorted(hidden), len(log)):
        if at > start:
            pieces.append(b"".join(log[start:at]))
        if at < len(log):
            places.append(len(pieces))
            pieces.append(log[at])
        start = at + 1
    return tuple(pieces), tuple(places)


def _told(failure: Failure) -> tuple[Trouble, str]:
    match failure.fault:
        case Fault.FIRST_BYTE | Fault.IDLE | Fault.TOTAL:
            return Trouble.TIMEOUT, f"the provider took too long ({failure.fault})"
        case Fault.CONNECT:
            return Trouble.OVERLOADED, f"the provider cannot be reached: {failure.detail}"
        case Fault.RESET:
            return (
                Trouble.UPSTREAM,
                "the provider closed the connection before its answer was whole",
            )
        case _:
            return Trouble.UPSTREAM, f"the provider's answer cannot be used: {failure.detail}"
