"""OpenAI's Chat Completions, as spoken by OpenAI, llama.cpp and nearly everybody: chat,
embeddings, and the list of models."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fleet.proxy.dialects import chat_form, lenient, openai
from fleet.proxy.dialects.chat_meter import ChatMeter
from fleet.proxy.dialects.dialect import Asked, DialectName, Endpoint, Members
from fleet.proxy.dialects.splice import with_member, without_member
from fleet.proxy.sse import data_of
from fleet.proxy.wire import Reply, Trouble

_WITH_USAGE = {"include_usage": True}
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Tool(msgspec.Struct):
    type: object = None


_tools = msgspec.json.Decoder(list[_Tool] | None)


class Chat:
    name = DialectName.CHAT

    def ask(self, path: str, query: str, members: Members) -> Asked:
        model = lenient.model_of(members)
        if path.endswith("/embeddings"):
            return Asked(endpoint=Endpoint.EMBEDDINGS, model=model, deterministic=True)
        if path.endswith("/models"):
            return Asked(endpoint=Endpoint.MODELS, deterministic=True)
        if "/models/" in path:
            name = path.rpartition("/models/")[2]
            return Asked(endpoint=Endpoint.MODELS, model=name, deterministic=True)
        most = lenient.count(lenient.value_of(members, "max_completion_tokens"))
        options = lenient.obj(lenient.value_of(members, "stream_options"))
        return Asked(
            endpoint=Endpoint.CHAT,
            model=model,
            stream=lenient.is_true(members, "stream"),
            wants_usage=options.get("include_usage") is True,
            max_output=most or lenient.count(lenient.value_of(members, "max_tokens")),
            deterministic=lenient.value_of(members, "temperature") == 0
            or lenient.given(members, "seed"),
            bypass=_bypass(members),
        )

    def meter(self, asked: Asked) -> ChatMeter:
        return ChatMeter(asked)

    def fold(self, events: Sequence[bytes]) -> bytes | None:
        return chat_form.fold(events)

    def unfold(self, body: bytes) -> tuple[bytes, ...] | None:
        return chat_form.unfold(body)

    def refusal(
        self,
        trouble: Trouble,
        message: str,
        *,
        request_id: str,
        retry_after_s: int | None = None,
        retry: bool | None = None,
    ) -> Reply:
        return openai.refusal(trouble, message, request_id, retry_after_s, retry)

    def broken(self, message: str) -> bytes:
        error = openai.error(message, "server_error", "upstream_error")
        return lenient.unnamed({"error": error})

    def late(self, body: bytes) -> bytes:
        error = lenient.members_of(body)
        return self.broken(lenient.shown(body)) if error is None else lenient.unnamed(error)

    def keepalive(self, user_agent: str) -> bytes:
        return b": keepalive\n\n"


def _bypass(members: Members) -> str:
    if lenient.is_true(members, "store"):
        return "store"
    if lenient.given(members, "web_search_options"):
        return "server-tool"
    if lenient.count(lenient.value_of(members, "n")) > 1:
        return "n"
    tools = members.get("tools")
    if tools is None:
        return ""
    try:
        kinds = [tool.type for tool in _tools.decode(tools) or ()]
    except (ValueError, RecursionError):
        return "server-tool"  # not readable: not known to be harmless
    return "" if all(kind in (None, "function", "custom") for kind in kinds) else "server-tool"


def with_stream(body: bytes, members: Members | None = None) -> bytes:
    """Asks for a stream. Not one other byte changes; nor does a body that is no object."""
    members = _read(body) if members is None else members
    return body if members is None else with_member(body, members, "stream", b"true")


def with_usage(body: bytes, members: Members | None = None) -> bytes:
    """Asks for the usage chunk; only for a body that asks for a stream. Not one byte changes when
    it is asked for already, or when `stream_options` is something only the provider can refuse."""
    members = _read(body) if members is None else members
    if members is None:
        return body
    options = lenient.value_of(members, "stream_options") if "stream_options" in members else {}
    if options is None:
        options = {}
    if not isinstance(options, dict) or options.get("include_usage") is True:
        return body
    return with_member(body, members, "stream_options", lenient.dumps({**options, **_WITH_USAGE}))


def without_usage(event: bytes) -> bytes:
    """A chunk that says more than usage, for those who did not ask: without that member."""
    data = data_of(event)
    members = _read(data)
    if members is None or "usage" not in members:
        return event
    return b"data: %b\n\n" % without_member(data, members, "usage")


def _read(body: bytes) -> Members | None:
    try:
        return _members.decode(body)
    except (ValueError, RecursionError):
        return None
