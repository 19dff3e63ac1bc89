"""Chat Completions: how its requests are read, and how an answer is said in it. Pure.

Thoughts go where llama.cpp and others put them, in `reasoning_content`: OpenAI shows none.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleet.core.usage import Usage
from fleet.proxy.dialects.lenient import Object, arr, dumps, obj, text, unnamed
from fleet.proxy.script.openai import error, text_in
from fleet.proxy.script.question import Conversation, Side, Tool, Turn, in_turns
from fleet.proxy.script.rules import Stop
from fleet.proxy.script.speech import CREATED, Speech

_REASONS = {
    Stop.TOOL_USE: "tool_calls",
    Stop.MAX_TOKENS: "length",
    Stop.REFUSAL: "content_filter",
}


class Chat:
    def read(self, body: Object) -> Conversation:
        functions = (obj(obj(tool).get("function")) for tool in arr(body.get("tools")))
        return Conversation(
            turns=in_turns(_messages(body)),
            tools=tuple(
                Tool(text(function.get("name")), obj(function.get("parameters")))
                for function in functions
            ),
            stream=body.get("stream") is True,
            wants_usage=obj(body.get("stream_options")).get("include_usage") is True,
        )

    def whole(self, speech: Speech) -> bytes:
        calls = [_call(speech, number) for number in range(len(speech.calls))]
        message: Object = {"role": "assistant", "content": speech.text or None, "refusal": None}
        if speech.thinking:
            message["reasoning_content"] = speech.thinking
        if calls:
            message["tool_calls"] = calls
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _reason(speech),
        }
        return dumps(
            _frame(speech, "chat.completion") | {"choices": [choice], "usage": _usage(speech.usage)}
        )

    def events(self, speech: Speech) -> list[bytes]:
        frame = _frame(speech, "chat.completion.chunk")
        if speech.wants_usage:
            frame["usage"] = None
        events = [unnamed(frame | {"choices": [_choice(delta, None)]}) for delta in _deltas(speech)]
        events.append(unnamed(frame | {"choices": [_choice({}, _reason(speech))]}))
        if speech.wants_usage:
            events.append(unnamed(frame | {"choices": [], "usage": _usage(speech.usage)}))
        events.append(b"data: [DONE]\n\n")
        return events

    def error(self, status: int, kind: str, message: str, request_id: str) -> bytes:
        return error(status, kind, message)


def _messages(body: Object) -> Iterator[Turn]:
    for message in map(obj, arr(body.get("messages"))):
        said = text_in(message.get("content"))
        match message.get("role"):
            case "user":
                yield Turn(Side.USER, said)
            case "assistant":
                yield Turn(Side.ASSISTANT, said)
            case "tool" | "function":
                yield Turn(Side.USER, results=(said,))


def _frame(speech: Speech, kind: str) -> Object:
    return {
        "id": speech.tag("chatcmpl-"),
        "object": kind,
        "created": CREATED,
        "model": speech.model,
        "service_tier": "default",
        "system_fingerprint": "fp_script",
    }


def _deltas(speech: Speech) -> Iterator[Object]:
    yield {"role": "assistant", "content": "" if speech.text else None, "refusal": None}
    for part in speech.cut(speech.thinking):
        yield {"reasoning_content": part}
    for part in speech.cut(speech.text):
        yield {"content": part}
    for number, call in enumerate(speech.calls):
        opened = _call(speech, number)
        opened["function"] = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": number, **opened}]}
        for part in speech.cut(call.json):
            yield {"tool_calls": [{"index": number, "function": {"arguments": part}}]}


def _call(speech: Speech, number: int) -> Object:
    call = speech.calls[number]
    return {
        "id": f"call_{call.id}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.json},
    }


def _choice(delta: Object, reason: str | None) -> Object:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _reason(speech: Speech) -> str:
    return _REASONS.get(speech.stop, "stop")


def _usage(usage: Usage) -> Object:
    return {
        "prompt_tokens": usage.total_input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total_input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
