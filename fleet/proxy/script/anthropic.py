"""The Messages API: how its requests are read, and how an answer is said in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.core.usage import Usage
from fleet.proxy.dialects.lenient import Object, arr, dumps, event, obj, text
from fleet.proxy.script.question import Conversation, Side, Tool, Turn, in_turns
from fleet.proxy.script.speech import Speech

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Anthropic:
    def read(self, body: Object) -> Conversation:
        tools = (obj(tool) for tool in arr(body.get("tools")))
        return Conversation(
            turns=in_turns(_messages(body)),
            tools=tuple(Tool(text(t.get("name")), obj(t.get("input_schema"))) for t in tools),
            stream=body.get("stream") is True,
        )

    def whole(self, speech: Speech) -> bytes:
        return dumps(
            _message(speech)
            | {
                "content": _blocks(speech),
                "stop_reason": speech.stop.value,
                "usage": _usage(speech.usage, speech.usage.output),
            }
        )

    def events(self, speech: Speech) -> list[bytes]:
        started = _message(speech) | {"usage": _usage(speech.usage, 1)}
        events = [_event("message_start", message=started)]
        for index, block in enumerate(_blocks(speech)):
            empty, deltas = _streamed(speech, block)
            events.append(_event("content_block_start", index=index, content_block=empty))
            if index == 0:
                events.append(_event("ping"))
            events += (_event("content_block_delta", index=index, delta=delta) for delta in deltas)
            events.append(_event("content_block_stop", index=index))
        usage = _usage(speech.usage, speech.usage.output)
        total = {key: n for key, n in usage.items() if key.endswith("_tokens")}
        delta: Object = {"stop_reason": speech.stop.value, "stop_sequence": None}
        events += [_event("message_delta", delta=delta, usage=total), _event("message_stop")]
        return events

    def error(self, status: int, kind: str, message: str, request_id: str) -> bytes:
        usual = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": kind or usual, "message": message}
        return dumps({"type": "error", "error": error, "request_id": request_id})


def _messages(body: Object) -> Iterator[Turn]:
    for message in map(obj, arr(body.get("messages"))):
        role, content = message.get("role"), message.get("content")
        blocks = arr(content)
        if isinstance(content, str):
            blocks = [{"type": "text", "text": content}]
        texts = [_text(block) for block in blocks if obj(block).get("type") == "text"]
        if role == "assistant":
            yield Turn(Side.ASSISTANT, "\n".join(texts))
        elif role == "user":
            results = [obj(block) for block in blocks if obj(block).get("type") == "tool_result"]
            yield Turn(Side.USER, "\n".join(texts), tuple(map(_result, results)))


def _text(block: object) -> str:
    return text(obj(block).get("text"))


def _result(block: Object) -> str:
    content = block.get("content")
    return content if isinstance(content, str) else "\n".join(map(_text, arr(content)))


def _message(speech: Speech) -> Object:
    return {
        "id": speech.tag("msg_"),
        "type": "message",
        "role": "assistant",
        "model": speech.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _blocks(speech: Speech) -> list[Object]:
    blocks: list[Object] = []
    if speech.thinking:
        signature = speech.tag("script")
        blocks.append({"type": "thinking", "thinking": speech.thinking, "signature": signature})
    if speech.text:
        blocks.append({"type": "text", "text": speech.text})
    for call in speech.calls:
        blocks.append(
            {
                "type": "tool_use",
                "id": f"toolu_{call.id}",
                "name": call.name,
                "input": call.arguments,
            }
        )
    return blocks


def _streamed(speech: Speech, block: Object) -> tuple[Object, list[Object]]:
    """A block as it starts, and what is added to it."""
    if block["type"] == "text":
        return block | {"text": ""}, _deltas("text_delta", "text", speech.cut(speech.text))
    if block["type"] == "thinking":
        thoughts = _deltas("thinking_delta", "thinking", speech.cut(speech.thinking))
        sealed: Object = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*thoughts, sealed]
    call = next(call for call in speech.calls if f"toolu_{call.id}" == block["id"])
    arguments = _deltas("input_json_delta", "partial_json", speech.cut(call.json))
    return block | {"input": {}}, arguments


def _deltas(kind: str, member: str, parts: list[str]) -> list[Object]:
    return [{"type": kind, member: part} for part in parts]


def _usage(usage: Usage, output: int) -> Object:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write_5m,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": output,
        "server_tool_use": None,
        "service_tier": "standard",
    }


def _event(name: str, **members: object) -> bytes:
    return event(name, {"type": name, **members})
