"""Which wire format and which of its endpoints a request is for. Pure.

The `/v1` is optional: it is part of some clients' base URL and not of others'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from fleet.proxy.dialects.dialect import DialectName, Endpoint
from fleet.proxy.wire import Headers, header

_POSTS = {
    "/messages": (DialectName.ANTHROPIC, Endpoint.MESSAGES),
    "/messages/count_tokens": (DialectName.ANTHROPIC, Endpoint.COUNT_TOKENS),
    "/chat/completions": (DialectName.CHAT, Endpoint.CHAT),
    "/responses": (DialectName.RESPONSES, Endpoint.RESPONSES),
    "/embeddings": (DialectName.CHAT, Endpoint.EMBEDDINGS),
}
_MODELS = re.compile(r"/models(?:/(?P<model>[^:]+))?")
_GEMINI = re.compile(r"/models/(?P<model>[^:]+):(?P<verb>\w+)")
_VERBS = {
    "generateContent": Endpoint.GENERATE,
    "streamGenerateContent": Endpoint.GENERATE,
    "countTokens": Endpoint.COUNT_TOKENS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    dialect: DialectName
    endpoint: Endpoint
    model: str = ""  # where the path names it
    stream: bool = False
    sse: bool = True


def find(method: str, target: str, headers: Headers) -> Route | None:
    path, _, query = target.partition("?")
    version, rest = _split(path.rstrip("/"))
    if method == "POST" and rest in _POSTS:
        dialect, endpoint = _POSTS[rest]
        return Route(dialect=dialect, endpoint=endpoint)
    if method == "POST" and (found := _GEMINI.fullmatch(rest)) and found["verb"] in _VERBS:
        return Route(
            dialect=DialectName.GEMINI,
            endpoint=_VERBS[found["verb"]],
            model=unquote(found["model"]),
            stream=found["verb"].startswith("stream"),
            sse=parse_qs(query).get("alt") == ["sse"],
        )
    if method in ("GET", "HEAD") and (found := _MODELS.fullmatch(rest)):
        return Route(
            dialect=_of_list(version, headers),
            endpoint=Endpoint.MODELS,
            model=unquote(found["model"] or ""),
        )
    return None


def _split(path: str) -> tuple[str, str]:
    found = re.match(r"/(v1(?:alpha|beta)?)(?=/|$)", path)
    return (found[1], path[found.end() :]) if found else ("", path)


def _of_list(version: str, headers: Headers) -> DialectName:
    if version in ("v1alpha", "v1beta") or any(name.startswith(b"x-goog-") for name, _ in headers):
        return DialectName.GEMINI
    return DialectName.ANTHROPIC if header(headers, b"anthropic-version") else DialectName.CHAT
