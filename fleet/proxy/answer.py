"""An answer as it is known by now, and every form it can be given out in.

It is a log of pieces, of which `log[:released]` may be read. Whoever reads it may want it as it
came, folded into one body, or unfolded into events; renderings are made once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from fleet.core.caller import Caller
from fleet.core.traffic import Ended
from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects.dialect import Asked, Dialect, Sort
from fleet.proxy.fingerprint import Key
from fleet.proxy.kept import Kept
from fleet.proxy.pricing import Quote
from fleet.proxy.providers import Provider, Route
from fleet.proxy.sse import events_of
from fleet.proxy.stage import Priority
from fleet.proxy.subscriber import Readers, Subscriber
from fleet.proxy.wire import Headers, Reply, Trouble, Upstream, header

EVENT_STREAM = b"text/event-stream"


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
    routes: tuple[Route, ...] = ()  # this way first, then the others
    level: Priority = Priority.NORMAL
    body: bytes = b""  # as it came; kept only where there is another way
    session: bytes = b""  # as the client names it
    cap: int = 0  # tokens: put where the request does not bound its answer; 0 for none
    is_odd: bool = False  # nobody can read the body


class Answer:
    """A `subscriber.Source`. One that is kept and asked for again is over before it is boarded."""

    __slots__ = (
        "body",
        "call_id",
        "consumed",
        "ended",
        "folded",
        "form",
        "headers",
        "hidden",
        "is_over",
        "log",
        "plan",
        "released",
        "reply",
        "status",
        "unfolded",
        "usage",
    )

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.call_id = 0
        self.status = 0
        self.headers: Headers = ()
        self.form = Form.UNKNOWN
        self.log: list[bytes] = []
        self.hidden: set[int] = set()  # entries only for those who asked for usage
        self.released = 0
        self.is_over = False
        self.ended: Ended | None = None
        self.reply: Reply | None = None  # a refusal of ours, in place of what came
        self.consumed: Readers = set()  # callers that have had this answer to its end
        self.body: bytes | None = None
        self.folded: bytes | None = None
        self.unfolded: tuple[bytes, ...] | None = None
        self.usage: Usage = NOTHING

    def forget(self) -> None:
        """Of an answer that was none: nobody has read of it."""
        self.status, self.headers, self.form = 0, (), Form.UNKNOWN
        self.log, self.hidden, self.released = [], set(), 0
        self.reply = self.body = None

    # -- subscribers ------------------------------------------------------------------------

    def board(self, subscriber: Subscriber) -> None:
        """From the beginning, whenever it comes."""
        subscriber.flight = self
        if self.released or self.is_over:
            subscriber.push()

    def leave(self, subscriber: Subscriber) -> None:
        """It has all it wanted, or its client is gone."""

    def resume(self) -> None:
        """There is room again for a subscriber that had none."""

    # -- renderings -------------------------------------------------------------------------

    def whole(self) -> bytes:
        """The body as it came."""
        if self.body is None:
            self.body = self.log[0] if len(self.log) == 1 else b"".join(self.log)
        return self.body

    def as_json(self) -> bytes | None:
        """One body for what came as a stream; None when it does not add up."""
        if self.folded is None and self.ended is Ended.COMPLETE:
            self.folded = self.plan.dialect.fold(events_of(self.log) or ())
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
        """Asked before an answer is given to somebody it was not made for."""
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

    def late(self) -> bytes:
        """What went wrong, for a client that waits in a stream: in place of the answer."""
        dialect = self.plan.dialect
        if self.reply is not None:
            return dialect.late(self.reply.body)
        if self.form is Form.RAW or self.status == 200:
            return dialect.broken("the provider's answer cannot be made a stream")
        return dialect.late(self.whole())

    @property
    def broken(self) -> Reply:
        """For those who cannot be given a rendering of what came."""
        return self.refusal(Trouble.UPSTREAM, "the provider's answer cannot be read")

    def kept(self) -> Kept:
        """What is left of it for those who come later; who is aboard will be among its readers."""
        stream = self.form is Form.STREAM
        log, hidden = _compact(self.log, self.hidden) if stream else (tuple(self.log), ())
        kept = Kept(
            headers=self.headers,
            log=log,
            hidden=hidden,
            streams=self.plan.stream,
            usage=self.usage,
            call_id=self.call_id,
            consumed=(),
        )
        self.consumed = kept
        return kept

    @classmethod
    def replayed(cls, kept: Kept, plan: Plan) -> Answer:
        """For who asks now, by `plan`."""
        answer = cls(replace(plan, stream=kept.streams))
        answer.status, answer.headers = 200, kept.headers
        is_stream = header(kept.headers, b"content-type").startswith(EVENT_STREAM)
        answer.form = Form.STREAM if is_stream else Form.WHOLE
        answer.log, answer.hidden = list(kept.log), set(kept.hidden)
        answer.released = len(answer.log)
        answer.usage, answer.call_id = kept.usage, kept.call_id
        answer.is_over, answer.ended = True, Ended.COMPLETE
        answer.consumed = kept
        return answer

    def refusal(self, trouble: Trouble, message: str, *, retry_after_s: int | None = None) -> Reply:
        return self.plan.dialect.refusal(
            trouble,
            message,
            request_id=f"req_call_{self.call_id}",
            retry_after_s=retry_after_s,
            retry=trouble is not Trouble.SPENT,
        )


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
