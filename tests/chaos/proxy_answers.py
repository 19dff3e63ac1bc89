"""Questions, and the one right answer to each call that asks one: made anew from two numbers.

An answer says in its first piece and in every other which question it belongs to and which call
it came from, and no two calls are answered alike. So whoever got an answer can say, from its bytes
alone, what it must have been: anything spliced, cut short or meant for another shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

MODEL = "soak-1"
_QUESTION = re.compile(rb"question (\d+)\b")
_TAG = re.compile(rb"q(\d+)n(\d+)(s|w|b|g)e")
_STREAM = re.compile(rb'"stream": ?true')
_USAGE = re.compile(rb'"include_usage": ?true')
_LARGE = 41  # every so-manyth answer is one

Json = dict[str, object]


class Dialect(StrEnum):
    MESSAGES = "/v1/messages"
    CHAT = "/v1/chat/completions"
    RESPONSES = "/v1/responses"


class Form(StrEnum):
    STREAM = "s"
    WHOLE = "w"
    BAD_STREAM = "b"  # an event in its middle is no JSON
    BAD_WHOLE = "g"


@dataclass(frozen=True, slots=True)
class Ask:
    dialect: Dialect
    number: int
    stream: bool
    usage: bool = False  # the usage chunk is wanted, where there is one
    size: int = 0  # of what stands before the question
    alone: bool = False  # shares no answer

    def request(self, token: str) -> bytes:
        body = self.body()
        head = f"POST /a/{token}{self.dialect} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        head += "content-type: application/json\r\nanthropic-version: 2023-06-01\r\n"
        head += "x-fleet-dedup: off\r\n" if self.alone else ""
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    @lru_cache(maxsize=128)  # noqa: B019 - a value, not an object with a life
    def body(self) -> bytes:
        said = f"{'word ' * (self.size // 5)}question {self.number}"
        asked: Json = {"model": MODEL, "max_tokens": 100}
        if self.dialect is Dialect.MESSAGES:
            block: Json = {"type": "text", "text": "be brief " * (self.size // 9)}
            system = [block | {"cache_control": {"type": "ephemeral"}}] if self.size else []
            asked["system"] = system
        if self.dialect is Dialect.RESPONSES:
            asked |= {"input": said, "store": False}
        else:
            asked["messages"] = [{"role": "user", "content": said}]
        if self.stream:
            asked["stream"] = True
        if self.usage and self.stream and self.dialect is Dialect.CHAT:
            asked["stream_options"] = {"include_usage": True}
        return _dumps(asked)

    @classmethod
    def read(cls, path: str, body: bytes) -> Ask:
        """As an upstream gets it."""
        found = _QUESTION.search(body)
        assert found is not None, "a body that nobody here asked"
        stream = _STREAM.search(body) is not None
        usage = _USAGE.search(body) is not None
        return cls(Dialect(path), int(found[1]), stream=stream, usage=usage)


@dataclass(frozen=True, slots=True)
class Made:
    """What one call answers."""

    dialect: Dialect
    number: int
    nonce: int
    form: Form

    @classmethod
    def found_in(cls, dialect: Dialect, body: bytes) -> Made | None:
        tag = _TAG.search(body)
        return tag and cls(dialect, int(tag[1]), int(tag[2]), Form(tag[3].decode()))

    @property
    def tag(self) -> str:
        return f"q{self.number}n{self.nonce}{self.form}e"

    @property
    def pieces(self) -> list[str]:
        if self.nonce % _LARGE == 0:
            return [f"{self.tag}.{at} {'x' * 2000} " for at in range(60)]
        return [f"{self.tag}.{at} " for at in range(2 + self.nonce * 7919 % 11)]

    @property
    def preamble(self) -> int:
        """Events before the first with content."""
        return {Dialect.MESSAGES: 2, Dialect.CHAT: 1, Dialect.RESPONSES: 3}[self.dialect]

    @lru_cache(maxsize=512)  # noqa: B019
    def events(self, *, usage: bool = True) -> tuple[bytes, ...]:
        events = list(_EVENTS[self.dialect](self, usage))
        if self.form is Form.BAD_STREAM:
            events.insert(self.preamble + 1, b'data: {"no JSON\n\n')
        return tuple(events)

    @lru_cache(maxsize=512)  # noqa: B019
    def whole(self) -> bytes:
        whole = _dumps(_WHOLES[self.dialect](self))
        return whole[:-9] + b"}" if self.form is Form.BAD_WHOLE else whole

    def refusal(self) -> bytes:
        error = {"type": "error", "message": f"no: {self.tag}"}
        return _dumps({"type": "error", "error": error})

    def is_unfolded(self, stream: bytes) -> bool:
        """Whether a stream that was made from the whole says all of it, and then ends."""
        events = stream.decode().split("\n\n")
        ends = {
            Dialect.MESSAGES: 'data: {"type":"message_stop"}',
            Dialect.CHAT: "data: [DONE]",
            Dialect.RESPONSES: '"type":"response.completed"',
        }
        if events.pop() or ends[self.dialect] not in events[-1]:
            return False
        told = [json.loads(line[6:]) for e in events for line in e.split("\n") if line[6:7] == "{"]
        return "".join(map(_delta, told)) == "".join(self.pieces)


def _delta(told: Json) -> str:
    """What one event adds to the text, in whatever dialect."""
    match told:
        case {"delta": {"text": str(said)}}:
            return said
        case {"type": "response.output_text.delta", "delta": str(said)}:
            return said
        case {"choices": [{"delta": {"content": str(said)}}]}:
            return said
    return ""


def _dumps(made: Json) -> bytes:
    return json.dumps(made, separators=(",", ":")).encode()


def _named(kind: str, **members: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _dumps({"type": kind, **members}))


# -- Messages -------------------------------------------------------------------------------


def _message(made: Made, content: list[Json], reason: str | None, output: int) -> Json:
    return {
        "id": f"msg_{made.tag}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": output},
    }


def _messages_whole(made: Made) -> Json:
    pieces = made.pieces
    return _message(made, [{"type": "text", "text": "".join(pieces)}], "end_turn", len(pieces))


def _messages_events(made: Made, usage: bool) -> Iterator[bytes]:
    pieces = made.pieces
    yield _named("message_start", message=_message(made, [], None, 1))
    yield _named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for piece in pieces:
        yield _named("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    yield _named("content_block_stop", index=0)
    last = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _named("message_delta", delta=last, usage={"output_tokens": len(pieces)})
    yield _named("message_stop")


# -- Chat -----------------------------------------------------------------------------------


def _completion(made: Made, kind: str, choices: list[Json]) -> Json:
    head: Json = {"object": kind, "id": f"chatcmpl-{made.tag}", "created": 1, "model": MODEL}
    return head | {"choices": choices}


def _chat_usage(made: Made) -> Json:
    output = len(made.pieces)
    return {"prompt_tokens": 7, "completion_tokens": output, "total_tokens": 7 + output}


def _chat_whole(made: Made) -> Json:
    message = {"role": "assistant", "content": "".join(made.pieces)}
    choice: Json = {"index": 0, "message": message, "finish_reason": "stop"}
    return _completion(made, "chat.completion", [choice]) | {"usage": _chat_usage(made)}


def _chat_events(made: Made, usage: bool) -> Iterator[bytes]:
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in made.pieces]
    for delta in (*deltas, {}):
        why = None if delta else "stop"
        yield _chunk(made, [{"index": 0, "delta": delta, "finish_reason": why}])
    if usage:
        yield _chunk(made, [], usage=_chat_usage(made))
    yield b"data: [DONE]\n\n"


def _chunk(made: Made, choices: list[Json], **more: object) -> bytes:
    chunk = _completion(made, "chat.completion.chunk", choices)
    return b"data: %b\n\n" % _dumps(chunk | more)


# -- Responses ------------------------------------------------------------------------------


def _response(made: Made, status: str, output: list[Json]) -> Json:
    head: Json = {"id": f"resp_{made.tag}", "object": "response", "status": status}
    return head | {"model": MODEL, "output": output}


def _item(made: Made) -> Json:
    part = {"type": "output_text", "text": "".join(made.pieces), "annotations": []}
    item: Json = {"type": "message", "id": f"msg_{made.tag}", "status": "completed"}
    return item | {"role": "assistant", "content": [part]}


def _responses_whole(made: Made) -> Json:
    output = len(made.pieces)
    usage = {"input_tokens": 7, "output_tokens": output, "total_tokens": 7 + output}
    return _response(made, "completed", [_item(made)]) | {"usage": usage}


def _responses_events(made: Made, usage: bool) -> Iterator[bytes]:
    place: Json = {"item_id": f"msg_{made.tag}", "output_index": 0, "content_index": 0}
    begun = _item(made) | {"status": "in_progress", "content": []}
    part: Json = {"type": "output_text", "text": "", "annotations": []}
    text = "".join(made.pieces)
    yield _named("response.created", response=_response(made, "in_progress", []))
    yield _named("response.output_item.added", output_index=0, item=begun)
    yield _named("response.content_part.added", **place, part=part)
    for piece in made.pieces:
        yield _named("response.output_text.delta", **place, delta=piece)
    yield _named("response.output_text.done", **place, text=text)
    yield _named("response.content_part.done", **place, part=part | {"text": text})
    yield _named("response.output_item.done", output_index=0, item=_item(made))
    yield _named("response.completed", response=_responses_whole(made))


_WHOLES = {
    Dialect.MESSAGES: _messages_whole,
    Dialect.CHAT: _chat_whole,
    Dialect.RESPONSES: _responses_whole,
}
_EVENTS = {
    Dialect.MESSAGES: _messages_events,
    Dialect.CHAT: _chat_events,
    Dialect.RESPONSES: _responses_events,
}
