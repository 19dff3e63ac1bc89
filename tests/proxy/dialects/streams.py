"""Answers of every dialect, as providers stream them; made here, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from fleet.proxy.dialects.dialect import Asked, Dialect, Endpoint, Members, Meter, Sort

Json = dict[str, object]


def packed(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def members(body: object) -> Members:
    return msgspec.json.decode(
        body if isinstance(body, bytes) else packed(body), type=dict[str, msgspec.Raw]
    )


def named(value: Json) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + packed(value) + b"\n\n"


def plain(value: Json) -> bytes:
    return b"data: " + packed(value) + b"\n\n"


def read(dialect: Dialect, endpoint: Endpoint, events: Sequence[bytes]) -> tuple[Meter, list[Sort]]:
    meter = dialect.meter(Asked(endpoint=endpoint))
    return meter, [meter.event(event) for event in events]


def folded(dialect: Dialect, *events: bytes) -> Json | None:
    body = dialect.fold(events)
    return None if body is None else json.loads(body)


# -- Anthropic -------------------------------------------------------------------------------


def started(**usage: object) -> bytes:
    counts: Json = {"input_tokens": 25, "output_tokens": 1, **usage}
    message: Json = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": counts,
    }
    return named({"type": "message_start", "message": message})


def block(index: int, **first: object) -> bytes:
    return named({"type": "content_block_start", "index": index, "content_block": first})


def delta(index: int, kind: str, **said: object) -> bytes:
    return named({"type": "content_block_delta", "index": index, "delta": {"type": kind, **said}})


def stopped(index: int) -> bytes:
    return named({"type": "content_block_stop", "index": index})


def ending(reason: str | None = "end_turn", /, **usage: object) -> bytes:
    said: Json = {"stop_reason": reason, "stop_sequence": None}
    return named({"type": "message_delta", "delta": said, "usage": usage})


PING = named({"type": "ping"})
MESSAGE_STOP = named({"type": "message_stop"})
ANTHROPIC = (
    started(cache_creation_input_tokens=100, cache_read_input_tokens=900),
    PING,
    block(0, type="thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="first the "),
    delta(0, "thinking_delta", thinking="tests"),
    delta(0, "signature_delta", signature="c2ln"),
    stopped(0),
    block(1, type="text", text=""),
    delta(1, "text_delta", text="I shall "),
    delta(1, "text_delta", text='read "it" é\n'),
    stopped(1),
    block(2, type="tool_use", id="toolu_1", name="Read", input={}),
    delta(2, "input_json_delta", partial_json=""),
    delta(2, "input_json_delta", partial_json='{"path": "a'),
    delta(2, "input_json_delta", partial_json='.py", "n": 3}'),
    stopped(2),
    ending("tool_use", output_tokens=89),
    MESSAGE_STOP,
)

# -- Chat ------------------------------------------------------------------------------------

DONE = b"data: [DONE]\n\n"
CHAT_USAGE: Json = {
    "prompt_tokens": 90,
    "completion_tokens": 12,
    "total_tokens": 102,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def chunk(*choices: Json, **more: object) -> bytes:
    return plain(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_755_555_555,
            "model": "gpt-test",
            "choices": list(choices),
            **more,
        }
    )


def choice(finish: str | None = None, index: int = 0, **said: object) -> Json:
    return {"index": index, "delta": said, "logprobs": None, "finish_reason": finish}


def call(index: int, arguments: str, **named_: object) -> list[Json]:
    name = {"name": named_.pop("name")} if "name" in named_ else {}
    return [{"index": index, **named_, "function": {**name, "arguments": arguments}}]


CHAT = (
    chunk(choice(role="assistant", content="")),
    chunk(choice(content="Let me ")),
    chunk(choice(content='look at "it"')),
    chunk(choice(tool_calls=call(0, "", id="call_1", type="function", name="read"))),
    chunk(choice(tool_calls=call(0, '{"path":'))),
    chunk(choice(tool_calls=call(0, '"a.py"}'))),
    chunk(choice("tool_calls")),
    chunk(usage=CHAT_USAGE),
    DONE,
)

# -- Responses -------------------------------------------------------------------------------

RESPONSES_USAGE: Json = {
    "input_tokens": 70,
    "input_tokens_details": {"cached_tokens": 40},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 100,
}
MESSAGE_ITEM: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello there", "annotations": []}],
}
EMPTY_PART: Json = {"type": "output_text", "text": "", "annotations": []}
CALL_ITEM: Json = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "read",
    "arguments": '{"path":"a.py"}',
}
REASONING_ITEM: Json = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "ZW5j",
}


def response(status: str = "completed", *items: Json, **more: object) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_755_555_555,
        "status": status,
        "model": "gpt-test",
        "output": list(items),
        "usage": RESPONSES_USAGE if status != "in_progress" else None,
        **more,
    }


def said(kind: str, **more: object) -> bytes:
    return named({"type": f"response.{kind}", "sequence_number": 1, **more})


RESPONSES = (
    said("created", response=response("in_progress")),
    said("in_progress", response=response("in_progress")),
    said("output_item.added", output_index=0, item={**REASONING_ITEM, "summary": []}),
    said("output_item.done", output_index=0, item=REASONING_ITEM),
    said("output_item.added", output_index=1, item={**MESSAGE_ITEM, "content": []}),
    said("content_part.added", output_index=1, content_index=0, part=EMPTY_PART),
    said("output_text.delta", output_index=1, content_index=0, delta="Hello "),
    said("output_text.delta", output_index=1, content_index=0, delta="there"),
    said("output_text.done", output_index=1, content_index=0, text="Hello there"),
    said("output_item.done", output_index=1, item=MESSAGE_ITEM),
    said("output_item.added", output_index=2, item={**CALL_ITEM, "arguments": ""}),
    said("function_call_arguments.delta", output_index=2, delta='{"path":"a.py"}'),
    said("function_call_arguments.done", output_index=2, arguments='{"path":"a.py"}'),
    said("output_item.done", output_index=2, item=CALL_ITEM),
    said("completed", response=response("completed", REASONING_ITEM, MESSAGE_ITEM, CALL_ITEM)),
)

# -- Gemini ----------------------------------------------------------------------------------


def piece(*parts: Json, finish: str | None = None, index: int = 0, **usage: int) -> bytes:
    candidate: Json = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if finish:
        candidate["finishReason"] = finish
    value: Json = {"candidates": [candidate], "modelVersion": "gemini-test"}
    if usage:
        value["usageMetadata"] = usage
    return b"data: " + packed(value) + b"\r\n\r\n"


GEMINI = (
    piece({"text": "hm, ", "thought": True}, promptTokenCount=50, totalTokenCount=50),
    piece({"text": "Hello "}, promptTokenCount=50, candidatesTokenCount=2),
    piece({"text": "there"}, promptTokenCount=50, candidatesTokenCount=4),
    piece(
        {"functionCall": {"name": "read", "args": {"path": "a.py"}}},
        finish="STOP",
        promptTokenCount=50,
        cachedContentTokenCount=20,
        candidatesTokenCount=9,
        thoughtsTokenCount=6,
    ),
)
