"""Gemini's generateContent: how its requests are read, and how an answer is said in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.core.usage import Usage
from fleet.proxy.dialects.lenient import Object, arr, dumps, obj, text, unnamed
from fleet.proxy.script.question import Conversation, Side, Tool, Turn, in_turns
from fleet.proxy.script.rules import Stop
from fleet.proxy.script.speech import Speech

_REASONS = {Stop.MAX_TOKENS: "MAX_TOKENS", Stop.REFUSAL: "SAFETY"}
_KINDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini:
    def read(self, body: Object) -> Conversation:
        return Conversation(turns=in_turns(_messages(body)), tools=tuple(_tools(body)))

    def whole(self, speech: Speech) -> bytes:
        return dumps(_chunk(speech, _parts(speech), last=True))

    def events(self, speech: Speech) -> list[bytes]:
        return [unnamed(chunk) for chunk in _chunks(speech)]

    def array(self, speech: Speech) -> list[bytes]:
        """The stream as it is without `alt=sse`: one array, chunk by chunk."""
        chunks = [dumps(chunk) for chunk in _chunks(speech)]
        starts = [b"[", *[b",\r\n"] * (len(chunks) - 1)]
        pieces = [start + chunk for start, chunk in zip(starts, chunks, strict=True)]
        pieces[-1] += b"]"
        return pieces

    def error(self, status: int, kind: str, message: str, request_id: str) -> bytes:
        usual = _KINDS.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
        return dumps({"error": {"code": status, "message": message, "status": kind or usual}})


def _messages(body: Object) -> Iterator[Turn]:
    for content in map(obj, arr(body.get("contents"))):
        parts = [obj(part) for part in arr(content.get("parts"))]
        texts = [said for part in parts if (said := text(part.get("text")))]
        if content.get("role") == "model":
            yield Turn(Side.ASSISTANT, "\n".join(texts))
        else:
            responses = (part["functionResponse"] for part in parts if "functionResponse" in part)
            yield Turn(Side.USER, "\n".join(texts), tuple(map(_result, responses)))


def _result(response: object) -> str:
    said = obj(response).get("response")
    output = obj(said).get("output")
    return output if isinstance(output, str) else dumps(said).decode()


def _tools(body: Object) -> Iterator[Tool]:
    for group in map(obj, arr(body.get("tools"))):
        for name in ("functionDeclarations", "function_declarations"):
            for function in map(obj, arr(group.get(name))):
                schema = obj(function.get("parametersJsonSchema") or function.get("parameters"))
                yield Tool(text(function.get("name")), schema)


def _parts(speech: Speech) -> list[Object]:
    parts: list[Object] = []
    if speech.thinking:
        parts.append({"text": speech.thinking, "thought": True})
    if speech.text:
        parts.append({"text": speech.text})
    for call in speech.calls:
        named = {"id": call.id, "name": call.name, "args": call.arguments}
        parts.append({"functionCall": named})
    return parts


def _chunks(speech: Speech) -> list[Object]:
    """A call comes whole; the last chunk says how it ended."""
    parts: list[Object] = [{"text": part, "thought": True} for part in speech.cut(speech.thinking)]
    parts += ({"text": part} for part in speech.cut(speech.text))
    parts += (part for part in _parts(speech) if "functionCall" in part)
    chunks = [_chunk(speech, [part], last=False) for part in parts]
    return [*chunks, _chunk(speech, [{"text": ""}], last=True)]


def _chunk(speech: Speech, parts: list[Object], *, last: bool) -> Object:
    candidate: Object = {"content": {"parts": parts, "role": "model"}}
    if last:
        candidate["finishReason"] = _REASONS.get(speech.stop, "STOP")
    candidate["index"] = 0
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(speech.usage, whole=last),
        "modelVersion": speech.model,
        "responseId": speech.tag(""),
    }


def _usage(usage: Usage, *, whole: bool) -> Object:
    found: Object = {"promptTokenCount": usage.total_input}
    if usage.cache_read:
        found["cachedContentTokenCount"] = usage.cache_read
    if whole:
        found["candidatesTokenCount"] = usage.output - usage.reasoning
        if usage.reasoning:
            found["thoughtsTokenCount"] = usage.reasoning
    found["totalTokenCount"] = usage.total_input + (usage.output if whole else 0)
    return found
