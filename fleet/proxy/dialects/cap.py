"""A bound for an answer whose request has none: without it nobody can say what it may cost."""

from __future__ import annotations

import msgspec

from fleet.proxy.dialects import lenient
from fleet.proxy.dialects.dialect import Endpoint
from fleet.proxy.dialects.splice import with_member

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMES = {Endpoint.CHAT: "max_tokens", Endpoint.RESPONSES: "max_output_tokens"}
_OFFICIAL_CHAT = "max_completion_tokens"  # OpenAI's reasoning models take no other name
_GEMINI, _GEMINI_MOST = "generationConfig", "maxOutputTokens"


def capped(body: bytes, endpoint: Endpoint, tokens: int, *, official: bool) -> bytes:
    """The one member is put in; what cannot be read is left to its provider to refuse."""
    try:
        members = _members.decode(body)
    except (ValueError, RecursionError):
        return body
    if endpoint is Endpoint.GENERATE:
        name = "generation_config" if "generation_config" in members else _GEMINI
        config = lenient.obj(lenient.value_of(members, name))
        return with_member(body, members, name, lenient.dumps({**config, _GEMINI_MOST: tokens}))
    if endpoint not in _NAMES:
        return body
    name = _OFFICIAL_CHAT if official and endpoint is Endpoint.CHAT else _NAMES[endpoint]
    return with_member(body, members, name, b"%d" % tokens)
