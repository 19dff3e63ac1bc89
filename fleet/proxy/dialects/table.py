"""Which requests the proxy takes, and in which dialect. What is not listed here is not passed on.

A path is taken as it is written: dot segments, empty segments and escapes name nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Dialect, Endpoint
from fleet.proxy.dialects.gemini import ENDPOINTS, Gemini
from fleet.proxy.dialects.responses import Responses

ANTHROPIC: Dialect = Anthropic()
CHAT: Dialect = Chat()
RESPONSES: Dialect = Responses()
GEMINI: Dialect = Gemini()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes; nowhere when it has no endpoint and is no probe."""

    dialect: Dialect  # in which any answer of ours is put
    endpoint: Endpoint | None = None
    probe: bool = False  # a client looks whether somebody is there
    allowed: str = ""  # the path is known, but not with this method: those for a 405's `allow`


# A name may hold a slash (llama.cpp and routers name models "org/name"), but no odd segment.
_NAME = r"[A-Za-z0-9_\-][A-Za-z0-9._@\-]*"
_PART = r"[A-Za-z0-9_\-][A-Za-z0-9._:@\-]*"
_ONE_MODEL = re.compile(rf"/v1/models/{_PART}(?:/{_PART}){{0,3}}")
_GEMINI_MODEL = re.compile(rf"/v1beta/models/{_NAME}")
_GEMINI_CALL = re.compile(rf"/v1(?:beta)?/models/{_NAME}:([A-Za-z]+)")

_POST: dict[str, Place] = {
    "/v1/messages": Place(ANTHROPIC, Endpoint.MESSAGES),
    "/v1/messages/count_tokens": Place(ANTHROPIC, Endpoint.COUNT_TOKENS),
    "/v1/chat/completions": Place(CHAT, Endpoint.CHAT),
    "/v1/embeddings": Place(CHAT, Endpoint.EMBEDDINGS),
    "/v1/responses": Place(RESPONSES, Endpoint.RESPONSES),
}
_MODELS = Place(CHAT, Endpoint.MODELS)
_GEMINI_MODELS = Place(GEMINI, Endpoint.MODELS)
_GET: dict[str, Place] = {"/v1/models": _MODELS, "/v1beta/models": _GEMINI_MODELS}
_PROBE = Place(CHAT, probe=True)
_NOWHERE = (("/v1/messages", Place(ANTHROPIC)), ("/v1beta/", Place(GEMINI)), ("", Place(CHAT)))
_GEMINI_CALLS = {verb: Place(GEMINI, endpoint) for verb, endpoint in ENDPOINTS.items()}


def find(method: str, path: str) -> Place:
    """`path` without its query."""
    if method == "POST" and (place := _POST.get(path)):
        return place
    known, allowed = _known(path)
    if known is None:
        return next(nowhere for start, nowhere in _NOWHERE if path.startswith(start))
    return known if method in allowed.split(", ") else Place(known.dialect, allowed=allowed)


def _known(path: str) -> tuple[Place | None, str]:
    if place := _POST.get(path):
        return place, "POST"
    if place := _GET.get(path):
        return place, "GET"
    if path == "/":
        return _PROBE, "GET, HEAD"
    if call := _GEMINI_CALL.fullmatch(path):
        if place := _GEMINI_CALLS.get(call[1]):
            return place, "POST"
        return (_MODELS, "GET") if _ONE_MODEL.fullmatch(path) else (None, "")
    if _ONE_MODEL.fullmatch(path):
        return _MODELS, "GET"
    if _GEMINI_MODEL.fullmatch(path):
        return _GEMINI_MODELS, "GET"
    return None, ""
