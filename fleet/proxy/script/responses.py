"""The Responses API: how its requests are read, and how an answer is said in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.core.usage import Usage
from fleet.proxy.dialects.lenient import Object, arr, dumps, event, obj, text
from fleet.proxy.script.openai import error, text_in
from fleet.proxy.script.question import Conversation, Side, Tool, Turn, in_turns
from fleet.proxy.script.rules import Stop
from fleet.proxy.script.speech import CREATED, Speech

_INCOMPLETE = {Stop.MAX_TOKENS: "max_output_tokens", Stop.REFUSAL: "content_filter"}
Told = tuple[str, Object]  # an event's type and its members


class Responses:
    def read(self, body: Object) -> Conversation:
        functions = (obj(tool) for tool in arr(body.get("tools")))
        return Conversation(
            turns=in_turns(_messages(body.get("input"))),
            tools=tuple(
                Tool(text(tool.get("name")), obj(tool.get("parameters")))
                for tool in functions
                if tool.get("type") == "function"
            ),
            stream=body.get("stream") is True,
            store=body.get("store") is not False,
        )

    def whole(self, speech: Speech) -> bytes:
        return dumps(_finished(speech))

    def events(self, speech: Speech) -> list[bytes]:
        return [
            event(kind, {"type": kind, "sequence_number": number, **members})
            for number, (kind, members) in enumerate(_told(speech))
        ]

    def error(self, status: int, kind: str, message: str, request_id: str) -> bytes:
        return error(status, kind, message)


def _messages(given: object) -> Iterator[Turn]:
    if isinstance(given, str):
        yield Turn(Side.USER, given)
    for item in map(obj, arr(given)):
        kind = text(item.get("type")) or "message"
        if kind.endswith("_output"):
            yield Turn(Side.USER, results=(text_in(item.get("output")),))
        elif kind != "message":
            if kind.endswith("_call") or kind == "reasoning":
                yield Turn(Side.ASSISTANT)
        elif item.get("role") in ("user", "assistant"):
            yield Turn(Side(item["role"]), text_in(item.get("content")))


# -- the stream -----------------------------------------------------------------------------


def _told(speech: Speech) -> Iterator[Told]:
    begun = _response(speech)
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(_items(speech)):
        yield from _ITEMS[text(item["type"])](speech, index, item)
    done = _finished(speech)
    kind = "completed" if done["status"] == "completed" else "incomplete"
    yield f"response.{kind}", {"response": done}


def _reasoning(speech: Speech, index: int, item: Object) -> Iterator[Told]:
    yield _added(index, item | {"summary": []})
    where: Object = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    name = "response.reasoning_summary"
    yield f"{name}_part.added", where | {"part": {"type": "summary_text", "text": ""}}
    for part in speech.cut(speech.thinking):
        yield f"{name}_text.delta", where | {"delta": part}
    yield f"{name}_text.done", where | {"text": speech.thinking}
    whole = {"type": "summary_text", "text": speech.thinking}
    yield f"{name}_part.done", where | {"part": whole}
    yield _done(index, item)


def _message(speech: Speech, index: int, item: Object) -> Iterator[Told]:
    yield _added(index, item | {"status": "in_progress", "content": []})
    where: Object = {"item_id": item["id"], "output_index": index, "content_index": 0}
    yield "response.content_part.added", where | {"part": _output_text("")}
    for part in speech.cut(speech.text):
        yield "response.output_text.delta", where | {"delta": part, "logprobs": []}
    yield "response.output_text.done", where | {"text": speech.text, "logprobs": []}
    yield "response.content_part.done", where | {"part": _output_text(speech.text)}
    yield _done(index, item)


def _function_call(speech: Speech, index: int, item: Object) -> Iterator[Told]:
    yield _added(index, item | {"status": "in_progress", "arguments": ""})
    where: Object = {"item_id": item["id"], "output_index": index}
    name = "response.function_call_arguments"
    for part in speech.cut(text(item["arguments"])):
        yield f"{name}.delta", where | {"delta": part}
    yield f"{name}.done", where | {"arguments": item["arguments"], "name": item["name"]}
    yield _done(index, item)


_ITEMS = {"reasoning": _reasoning, "message": _message, "function_call": _function_call}


def _added(index: int, item: Object) -> Told:
    return "response.output_item.added", {"output_index": index, "item": item}


def _done(index: int, item: Object) -> Told:
    return "response.output_item.done", {"output_index": index, "item": item}


# -- the objects ----------------------------------------------------------------------------


def _items(speech: Speech) -> list[Object]:
    items: list[Object] = []
    if speech.thinking:
        summary = [{"type": "summary_text", "text": speech.thinking}]
        sealed = speech.tag("script")
        items.append(
            {
                "id": speech.tag("rs_"),
                "type": "reasoning",
                "summary": summary,
                "encrypted_content": sealed,
            }
        )
    if speech.text:
        items.append(
            {
                "id": speech.tag("msg_"),
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [_output_text(speech.text)],
            }
        )
    for call in speech.calls:
        items.append(
            {
                "id": f"fc_{call.id}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{call.id}",
                "name": call.name,
                "arguments": call.json,
            }
        )
    return items


def _output_text(said: str) -> Object:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}


def _response(speech: Speech) -> Object:
    return {
        "id": speech.tag("resp_"),
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": speech.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": speech.store,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _finished(speech: Speech) -> Object:
    cut_by = _INCOMPLETE.get(speech.stop)
    return _response(speech) | {
        "status": "incomplete" if cut_by else "completed",
        "incomplete_details": {"reason": cut_by} if cut_by else None,
        "output": _items(speech),
        "usage": _usage(speech.usage),
    }


def _usage(usage: Usage) -> Object:
    return {
        "input_tokens": usage.total_input,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total_input + usage.output,
    }
