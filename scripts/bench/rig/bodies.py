"""Requests that agents would send, and the answers they get: deterministic, of a wanted size.

Every request carries a number near its end, as an agent's last turn would, and every answer
repeats it: so bodies are unique, and an answer that belongs to someone else is noticed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

DIGITS = 10
MARK = b"turn #"  # followed by the number
STAMP = b"t="  # followed by 19 digits of time.monotonic_ns(): one clock for all processes here
ZEROS = b"0" * DIGITS
VERSION = ("anthropic-version", "2023-06-01")

Json = dict[str, object]


class Api(StrEnum):
    MESSAGES = "messages"
    CHAT = "chat"

    @property
    def path(self) -> str:
        return "/v1/messages" if self is Api.MESSAGES else "/v1/chat/completions"

    @property
    def model(self) -> str:
        return "claude-opus-5-5" if self is Api.MESSAGES else "gpt-4o"

    @property
    def last_words(self) -> bytes:
        """Without them a stream was cut."""
        return b"message_stop" if self is Api.MESSAGES else b"[DONE]"


@dataclass(frozen=True, slots=True)
class Template:
    """The bytes of a request but for its number."""

    head: bytes
    tail: bytes

    def fill(self, number: int) -> bytes:
        return b"%s%010d%s" % (self.head, number, self.tail)


def template(
    api: Api, size: int, *, path: str, headers: Mapping[str, str], stream: bool = False
) -> Template:
    """A request of `size` bytes of body, as near as whole words come."""
    bare = len(_json(_asked(api, size, "", stream=stream)))
    body = _json(_asked(api, size, words(size - bare), stream=stream))
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}", "", ""]
    before, _, after = body.rpartition(MARK + ZEROS)
    return Template("\r\n".join(lines).encode() + before + MARK, after)


def _asked(api: Api, size: int, said: str, *, stream: bool) -> Json:
    """Tools and a history in the larger ones: what parsing costs depends on it."""
    names = ["Read", "Edit", "Bash"][: 1 + size // 4000]
    tools = [_tool(api, name, min(size // 6, 3000)) for name in names]
    spare = size - len(_json(tools)) - 1000
    turns = [_said("user", 1500), _said("assistant", 2300)] * max(0, spare // 3900)
    last = {"role": "user", "content": f"{said} {MARK.decode()}{ZEROS.decode()}"}
    asked: Json = {"model": api.model, "max_tokens": 1024, "stream": stream, "tools": tools}
    system = "You are a careful engineer. Work in small steps."
    if api is Api.MESSAGES:
        return asked | {"system": system, "messages": [*turns, last]}
    return asked | {"messages": [{"role": "system", "content": system}, *turns, last]}


def _json(made: object) -> bytes:
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()


def _said(role: str, size: int) -> Json:
    return {"role": role, "content": words(size)}


def _tool(api: Api, name: str, size: int) -> Json:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    if api is Api.MESSAGES:
        return {"name": name, "description": words(size), "input_schema": schema}
    function = {"name": name, "description": words(size), "parameters": schema}
    return {"type": "function", "function": function}


def words(size: int) -> str:
    """Text with the letters, quotes and line ends of an agent's, escapes included."""
    some = ("def", "return", "the", "file", "tests/test_text.py", '"quoted"', "of\n", "línea", "42")
    rng, parts, length = random.Random(size), [], 0
    while length < size:
        parts.append(rng.choice(some))
        length += len(_json(parts[-1])) - 1
    return " ".join(parts)


def answer(api: Api) -> tuple[bytes, bytes]:
    """About 1 KB of JSON: what stands before its number, and after."""
    text = f"{MARK.decode()}{ZEROS.decode()} {words(480)}"
    made: Json
    if api is Api.MESSAGES:
        made = _message([{"type": "text", "text": text}], "end_turn", tokens=212)
    else:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        made = _completion("chat.completion", [choice]) | {"usage": _usage(212)}
    before, _, after = _json(made).partition(ZEROS)
    return before, after


@dataclass(frozen=True, slots=True)
class Script:
    """A stream's events: the first ones, a delta without its text, and the last ones."""

    opening: tuple[bytes, ...]
    delta: tuple[bytes, bytes]
    closing: tuple[bytes, ...]


def script(api: Api) -> Script:
    return _messages_script() if api is Api.MESSAGES else _chat_script()


def _messages_script() -> Script:
    start = {"type": "message_start", "message": _message([], None, tokens=1)}
    block = {"type": "text", "text": ""}
    delta = {"type": "text_delta", "text": "@"}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return Script(
        (
            _named(start),
            _named({"type": "content_block_start", "index": 0, "content_block": block}),
        ),
        _around(_named({"type": "content_block_delta", "index": 0, "delta": delta})),
        (
            _named({"type": "content_block_stop", "index": 0}),
            _named({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 300}}),
            _named({"type": "message_stop"}),
        ),
    )


def _chat_script() -> Script:
    def chunk(delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _data(_completion("chat.completion.chunk", [choice]))

    usage = _completion("chat.completion.chunk", []) | {"usage": _usage(300)}
    return Script(
        (chunk({"role": "assistant", "content": ""}),),
        _around(chunk({"content": "@"})),
        (chunk({}, "stop"), _data(usage), b"data: [DONE]\n\n"),
    )


def _message(content: list[dict[str, str]], reason: str | None, *, tokens: int) -> Json:
    usage = {"input_tokens": 512, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {
        "id": "msg_01bench",
        "type": "message",
        "role": "assistant",
        "model": Api.MESSAGES.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": tokens},
    }


def _completion(kind: str, choices: list[Json]) -> Json:
    made: Json = {"id": "chatcmpl-bench", "object": kind, "created": 1700000000}
    return made | {"model": Api.CHAT.model, "choices": choices}


def _usage(tokens: int) -> Json:
    return {"prompt_tokens": 512, "completion_tokens": tokens, "total_tokens": 512 + tokens}


def _named(event: Mapping[str, object]) -> bytes:
    return b"event: %s\n%s" % (str(event["type"]).encode(), _data(event))


def _data(event: Mapping[str, object]) -> bytes:
    return b"data: %s\n\n" % _json(event)


def _around(event: bytes) -> tuple[bytes, bytes]:
    before, _, after = event.rpartition(b"@")
    return before, after
