"""A client's end and an upstream that tests can look at and steer, in place of sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fleet.core.caller import Caller
from fleet.proxy.wire import Headers, Outgoing, Reply, Sink, header

EVENT_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"),)
JSON = ((b"content-type", b"application/json"),)


@dataclass
class Outlet:
    """Takes what a subscriber writes. `writable` may be cleared to play a slow reader."""

    gone: bool = False
    writable: bool = True
    on_writable: Callable[[], None] | None = None
    status: int = 0
    headers: Headers = ()
    written: list[bytes] = field(default_factory=list)
    ended: bool = False
    aborted: bool = False

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        assert not self.status, "started twice"
        self.status, self.headers = status, headers

    def write(self, data: bytes) -> None:
        assert self.status and not self.ended, "written outside of an answer"
        self.written.append(data)

    def end(self) -> None:
        assert self.status and not self.ended
        self.ended = True

    def reply(self, reply: Reply) -> None:
        self.start(reply.status, reply.headers, len(reply.body))
        self.written.append(reply.body)
        self.ended = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def body(self) -> bytes:
        return b"".join(self.written)

    @property
    def dedup(self) -> str:
        return header(self.headers, b"x-fleet-dedup").decode()

    def make_room(self) -> None:
        self.writable = True
        if self.on_writable is not None:
            self.on_writable()


@dataclass
class Sent:
    """One call that an upstream was given."""

    outgoing: Outgoing
    sink: Sink
    cancelled: bool = False
    paused: bool = False

    def cancel(self) -> None:
        self.cancelled = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def stream(self, *events: bytes) -> None:
        """The head of an event stream, and these events."""
        self.sink.head(200, EVENT_STREAM)
        for event in events:
            self.sink.data(event)


@dataclass
class Provider:
    """An upstream that answers when the test does."""

    calls: list[Sent] = field(default_factory=list)

    def send(self, outgoing: Outgoing, sink: Sink) -> Sent:
        self.calls.append(Sent(outgoing, sink))
        return self.calls[-1]


def caller(name: str = "one", *, verdicts: int = 0, priority: int = 1) -> Caller:
    key = f"{name}.1"
    return Caller(hash=name, task=name, epoch=1, key=key, verdicts=verdicts, priority=priority)


# -- an answer of the Messages API, piece by piece ------------------------------------------------


def event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


START = event(
    "message_start",
    '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    '"model":"m","content":[],"stop_reason":null,"stop_sequence":null,'
    '"usage":{"input_tokens":7,"output_tokens":1}}}',
)
OPEN = event(
    "content_block_start",
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
)
PING = event("ping", '{"type":"ping"}')
CLOSE = event("content_block_stop", '{"type":"content_block_stop","index":0}')
LAST = event(
    "message_delta",
    '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    '"usage":{"output_tokens":5}}',
)
STOP = event("message_stop", '{"type":"message_stop"}')
ERROR = event(
    "error", '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
)


def word(text: str) -> bytes:
    delta = f'{{"type":"text_delta","text":"{text}"}}'
    return event(
        "content_block_delta",
        f'{{"type":"content_block_delta","index":0,"delta":{delta}}}',
    )


ANSWER = (START, OPEN, word("Hel"), word("lo"), CLOSE, LAST, STOP)
WHOLE = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"m",'
    b'"content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,'
    b'"usage":{"input_tokens":7,"output_tokens":5}}'
)
