"""An Anthropic answer from one form into the other: a stream of events, or one body.

Blocks, members and deltas nobody here knows are carried over. A stream is only folded if it keeps
the rules that clients rely on: one `message_start`, blocks in order and closed, inputs that parse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet.proxy.dialects.lenient import (
    Object,
    arr,
    count,
    dumps,
    event,
    index,
    loads,
    members_of,
    obj,
    text,
)
from fleet.proxy.sse import data_of, events_of

_GROWING = {"text_delta": "text", "thinking_delta": "thinking"}
_OF_THE_END = ("stop_reason", "stop_sequence", "stop_details")  # told when it is over
_OF_A_MESSAGE = ("content_block_", "message_")


class _Broken(Exception):
    """The stream does not add up."""


class _Fold:
    """The message as far as it has come."""

    def __init__(self) -> None:
        self.message: Object | None = None
        self.blocks: list[Object] = []
        self.is_open = False
        self.input = ""
        self.is_whole = False

    def take(self, members: Object) -> None:
        kind = text(members.get("type"))
        starts = kind == "message_start"
        if kind == "error" or (starts and self.message is not None):
            raise _Broken
        if self.message is None and not starts and kind.startswith(_OF_A_MESSAGE):
            raise _Broken
        match kind:
            case "message_start":
                self.message = dict(obj(members.get("message")))
            case "content_block_start":
                self._start(members)
            case "content_block_delta":
                self._delta(members)
            case "content_block_stop":
                self._stop(members)
            case "message_delta":
                self._ending(members)
            case "message_stop":
                self.is_whole = not self.is_open

    def _start(self, members: Object) -> None:
        if self.is_open or index(members.get("index")) != len(self.blocks):
            raise _Broken
        self.is_open, self.input = True, ""
        self.blocks.append(dict(obj(members.get("content_block"))))

    def _open_block(self, members: Object) -> Object:
        if not self.is_open or index(members.get("index")) != len(self.blocks) - 1:
            raise _Broken
        return self.blocks[-1]

    def _delta(self, members: Object) -> None:
        delta = obj(members.get("delta"))
        block = self._open_block(members)
        kind = text(delta.get("type"))
        if name := _GROWING.get(kind):
            block[name] = text(block.get(name)) + text(delta.get(name))
        elif kind == "input_json_delta":
            self.input += text(delta.get("partial_json"))
        elif kind == "citations_delta":
            block["citations"] = [*arr(block.get("citations")), delta.get("citation")]
        else:
            block.update((key, value) for key, value in delta.items() if key != "type")

    def _stop(self, members: Object) -> None:
        block = self._open_block(members)
        self.is_open = False
        if self.input:
            try:
                block["input"] = loads(self.input)
            except ValueError:
                raise _Broken from None
        if block.get("type") == "fallback" and self.message is not None:
            self.message["model"] = obj(block.get("to")).get("model", self.message.get("model"))

    def _ending(self, members: Object) -> None:
        message = self.message or {}
        message.update(obj(members.get("delta")))
        usage = dict(obj(message.get("usage")))
        usage.update(_said(obj(members.get("usage"))))
        message["usage"] = usage
        message.update(
            (key, value)
            for key, value in _said(members).items()
            if key not in ("type", "delta", "usage")
        )


def _said(members: Object) -> Object:
    return {key: value for key, value in members.items() if value is not None}


def fold(events: Sequence[bytes]) -> bytes | None:
    folding = _Fold()
    for one in events_of(events):
        data = data_of(one)
        if not data:
            continue
        members = members_of(data)
        if members is None:
            return None
        try:
            folding.take(members)
        except _Broken:
            return None
        if folding.is_whole:
            break
    if not folding.is_whole or folding.message is None or not folding.message.get("stop_reason"):
        return None
    return dumps({**folding.message, "content": folding.blocks})


def unfold(body: bytes) -> tuple[bytes, ...] | None:
    message = members_of(body)
    if message is None or message.get("type") != "message":
        return None
    content = message.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return None
    return tuple(_events(message, content))


def _events(message: Object, content: list[Object]) -> Iterator[bytes]:
    usage = {"input_tokens": 0, "output_tokens": 0, **obj(message.get("usage"))}
    ending: Object = {"stop_reason": None, "stop_sequence": None}
    ending.update((key, message[key]) for key in _OF_THE_END if key in message)
    start: Object = {
        **message,
        "content": [],
        **dict.fromkeys(ending),
        "usage": {**usage, "output_tokens": min(count(usage["output_tokens"]), 1)},
    }
    yield event("message_start", {"type": "message_start", "message": start})
    for at, block in enumerate(content):
        first, deltas = _parts(block)
        yield event(
            "content_block_start",
            {"type": "content_block_start", "index": at, "content_block": first},
        )
        for delta in deltas:
            yield event(
                "content_block_delta", {"type": "content_block_delta", "index": at, "delta": delta}
            )
        yield event("content_block_stop", {"type": "content_block_stop", "index": at})
    yield event("message_delta", {"type": "message_delta", "delta": ending, "usage": usage})
    yield event("message_stop", {"type": "message_stop"})


def _parts(block: Object) -> tuple[Object, list[Object]]:
    """How a block starts, and what is said to complete it."""
    deltas: list[Object] = []
    match block.get("type"):
        case "text":
            first: Object = {**block, "text": ""}
            if said := text(block.get("text")):
                deltas.append({"type": "text_delta", "text": said})
            if citations := arr(block.get("citations")):
                first["citations"] = []
                deltas += [{"type": "citations_delta", "citation": one} for one in citations]
        case "thinking":
            first = {**block, "thinking": ""}
            if said := text(block.get("thinking")):
                deltas.append({"type": "thinking_delta", "thinking": said})
            if "signature" in block:
                first["signature"] = ""
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case _ if isinstance(block.get("input"), dict):
            first = {**block, "input": {}}
            partial = dumps(block["input"]).decode()
            deltas.append({"type": "input_json_delta", "partial_json": partial})
        case _:
            first = block
    return first, deltas
