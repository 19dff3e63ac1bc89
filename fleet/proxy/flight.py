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
from typing import Protocol

from fleet.core.traffic import Ended
from fleet.proxy.answer import EVENT_STREAM, Answer, Form, Plan
from fleet.proxy.dialects.dialect import Endpoint, Sort
from fleet.proxy.fingerprint import Key
from fleet.proxy.headers import for_client
from fleet.proxy.sse import Splitter
from fleet.proxy.subscriber import Subscriber
from fleet.proxy.wire import Failure, Fault, Headers, Outgoing, Sending, Trouble, header

SHARED_BYTES, SHARED_ENTRIES = 8 << 20, 128 << 10  # longer ones go to those aboard only
HELD_ENTRIES = 4096  # without content; then they go out as they come
FOLDED_BYTES = 32 << 20  # of a stream whose reader wants one body
AHEAD_ENTRIES = 256  # unsent to the fastest subscriber: then the upstream has to wait
MESSAGE_BYTES = 300  # of a provider's words in an error of ours


class Control(Protocol):
    """Who keeps the flights: told of every turn, in this order."""

    def headed(self, flight: Flight) -> None: ...  # the head of an answer has come
    def unshared(self, flight: Flight) -> None: ...  # nobody may board any more
    def over(self, flight: Flight) -> None: ...  # before subscribers hear of it
    def retries(self, flight: Flight) -> bool: ...  # whether what came of it is not the last word
    def deserted(self, flight: Flight) -> None: ...  # the last subscriber has left


class Flight(Answer):
    """A `Sink`: the answer while it comes."""

    __slots__ = (
        "began",
        "bytes_in",
        "bytes_out",
        "caller",
        "clock",
        "control",
        "deserted_at",
        "failure",
        "head_at",
        "meter",
        "outgoing",
        "paused",
        "said",
        "sending",
        "sent_at",
        "shared_as",
        "splitter",
        "subscribers",
    )

    def __init__(
        self, plan: Plan, outgoing: Outgoing, control: Control, clock: Callable[[], float]
    ) -> None:
        super().__init__(plan)
        self.outgoing: Outgoing | None = outgoing  # until it is over: bodies are large
        self.control = control
        self.clock = clock
        self.caller = plan.caller  # whom the call is charged to
        self.began = clock()
        self.bytes_out = len(outgoing.body)
        self.subscribers: list[Subscriber] = []
        self.deserted_at: float | None = None
        self.shared_as: Key | None = None  # the key under which others find it
        self._fresh()

    def again(self) -> None:
        """Nothing has been said yet; nothing of an earlier try is left."""
        self._fresh()
        self.forget()

    def _fresh(self) -> None:
        self.meter = self.plan.dialect.meter(self.plan.asked)
        self.splitter: Splitter | None = None
        self.sent_at = self.head_at = 0.0
        self.sending: Sending | None = None
        self.bytes_in = 0
        self.paused = False
        self.failure: Failure | None = None
        self.said = b""  # the event with which the provider gave up

    def reword(self, body: bytes) -> None:
        """Of a refusal that nobody has read."""
        self.log, self.body = [body], None

    def take_way(self, plan: Plan, outgoing: Outgoing) -> None:
        """Somebody else is asked."""
        self.plan, self.outgoing = plan, outgoing
        self.bytes_out = len(outgoing.body)

    @property
    def is_waiting(self) -> bool:
        """Nobody has read anything of it yet."""
        return not self.released and not self.is_over

    # -- subscribers ------------------------------------------------------------------------

    def board(self, subscriber: Subscriber) -> None:
        self.subscribers.append(subscriber)
        self.deserted_at = None
        super().board(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """The call goes on for the others, and for a while for nobody."""
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
        cursors = (s.cursor for s in self.subscribers if s.verbatim)
        return self.released - max(cursors, default=self.released)

    def _push(self) -> None:
        if len(self.subscribers) == 1:
            only = self.subscribers[0]
            only.push()
            ahead = self.released - only.cursor if only.verbatim else 0  # else it takes it whole
        else:
            for subscriber in tuple(self.subscribers):
                subscriber.push()
            ahead = self._ahead()
        if ahead > AHEAD_ENTRIES and not self.paused and self.subscribers:
            self.paused = True
            if self.sending is not None:
                self.sending.pause()

    # -- what the upstream says -------------------------------------------------------------

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers, self.head_at = status, for_client(headers), self.clock()
        encoded = header(headers, b"content-encoding") not in (b"", b"identity")
        if encoded and status < 400:
            self._make_raw()
        elif status == 200 and header(headers, b"content-type").startswith(EVENT_STREAM):
            self.form, self.splitter = Form.STREAM, Splitter()
        else:
            self.form = Form.WHOLE
        self.control.headed(self)

    def data(self, data: bytes) -> None:
        self.bytes_in += len(data)
        splitter = self.splitter
        if splitter is not None:
            self._events(splitter.feed(data))
            if self.splitter is not splitter:
                return  # an error event, and another try has begun
            if splitter.overflow:
                self._give_up("the provider sent an event too long to read")
        else:
            self.log.append(data)
            if self.form is not Form.WHOLE:
                self.released = len(self.log)
                self._push()
                self._forget()
        is_long = self.bytes_in > SHARED_BYTES or len(self.log) > SHARED_ENTRIES
        if is_long and self.form is not Form.RAW:
            self._outgrow()

    def _events(self, events: list[bytes]) -> None:
        log, judge, content = self.log, self.meter.event, False
        for event in events:
            sort = judge(event)
            if sort is Sort.CONTENT or sort is Sort.END:
                content = True
            elif sort is Sort.USAGE and self._is_usage_optional:
                self.hidden.add(len(log))
            elif sort is Sort.ERROR:
                self._gave_up_within(event)
                return
            log.append(event)
        if content or self.released or len(log) > HELD_ENTRIES:
            self.released = len(log)
            self._push()

    @property
    def _is_usage_optional(self) -> bool:
        """It was asked for, by us or by who leads: others who are aboard may not want it."""
        return self.plan.hides_usage or self.plan.asked.wants_usage

    def release(self) -> None:
        """The first content is long in coming: let go of what there is, and of a clean status."""
        if self.form is Form.STREAM and not self.released and self.log:
            self.released = len(self.log)
            self._push()

    def end(self) -> None:
        splitter = self.splitter
        if splitter is not None:
            rest = splitter.rest
            if rest and self.meter.ended:
                self.log.append(rest)  # an empty line, a comment: says nothing, but was sent
            elif rest:
                self._events([rest])
            if self.is_over or self.splitter is not splitter:
                return
            if not self.meter.ended:
                self.failed(Failure(Fault.PROTOCOL, "the stream ended before the answer did", True))
                return
        elif self.form is Form.WHOLE and self.status == 200:
            self.meter.whole(self.whole())
        if self.status < 400:
            self._finish(Ended.COMPLETE)
        elif self.released or not self.control.retries(self):
            self._finish(Ended.REFUSED)

    def failed(self, failure: Failure) -> None:
        if self._said_all and failure.fault is not Fault.PROTOCOL and not self.is_over:
            self._finish(Ended.COMPLETE)  # all that is missing is the word that nothing is
            return
        self.failure = failure
        if self.released or self.is_over or not self.control.retries(self):
            self._give_up(*_told(failure))

    @property
    def _said_all(self) -> bool:
        """Its last event has come. Gemini has none: after one candidate's end may come another."""
        is_stream = self.splitter is not None and self.meter.ended
        return is_stream and self.plan.asked.endpoint is not Endpoint.GENERATE

    def cancel(self) -> None:
        """Nobody wants it any more."""
        if self.is_over:
            return
        if self.sending is not None:
            self.sending.cancel()
        self._finish(Ended.CANCELLED)

    def refuse(self, trouble: Trouble, message: str, *, retry_after_s: int | None = None) -> None:
        """It never left."""
        self.reply = self.refusal(trouble, message, retry_after_s=retry_after_s)
        self._finish(Ended.FAILED)

    # -- endings ----------------------------------------------------------------------------

    def _gave_up_within(self, event: bytes) -> None:
        """An error event: the provider's own words if they can still be a status, else as it is."""
        if self.sending is not None:
            self.sending.cancel()
        self.failure, self.said = Failure(Fault.PROTOCOL, "error event", answered=True), event
        if not self.released and self.control.retries(self):
            return
        trouble = Trouble.OVERLOADED if b"overloaded" in event else Trouble.UPSTREAM
        said = event.decode("utf-8", "replace").strip()[:MESSAGE_BYTES]
        self.reply = self.refusal(trouble, f"the provider ended its answer: {said}")
        if self.released:
            self.log.append(event)
        self._finish(Ended.CUT)

    def _give_up(self, what: str, trouble: Trouble = Trouble.UPSTREAM) -> None:
        if self.is_over:
            return
        if self.sending is not None:
            self.sending.cancel()
        self.reply = self.refusal(trouble, what)
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

    # -- too much to keep -------------------------------------------------------------------

    def _outgrow(self) -> None:
        """Too long to keep: those aboard go on, and what all of them have is forgotten."""
        self.control.unshared(self)
        if not self.subscribers:
            self.cancel()  # nobody can come back to it
            return
        self.release()  # however little it says
        if self.bytes_in > FOLDED_BYTES and not all(s.verbatim for s in self.subscribers):
            self._give_up("the provider sent a stream too long to make one body of")
            return
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
            behind = min((s.cursor for s in self.subscribers), default=len(self.log))
            for at in range(behind - 1, -1, -1):
                if not self.log[at]:
                    break
                self.log[at] = b""


def _told(failure: Failure) -> tuple[str, Trouble]:
    match failure.fault:
        case Fault.FIRST_BYTE | Fault.IDLE | Fault.TOTAL:
            return f"the provider took too long ({failure.fault})", Trouble.TIMEOUT
        case Fault.CONNECT:
            return f"the provider cannot be reached: {failure.detail}", Trouble.OVERLOADED
        case Fault.RESET:
            what = "the provider closed the connection before its answer was whole"
            return what, Trouble.UPSTREAM
        case _:
            return f"the provider's answer cannot be used: {failure.detail}", Trouble.UPSTREAM
