from __future__ import annotations

import pytest

from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import DialectName, Endpoint

PLACES = [
    ("POST", "/v1/messages", DialectName.ANTHROPIC, Endpoint.MESSAGES),
    ("POST", "/v1/messages/count_tokens", DialectName.ANTHROPIC, Endpoint.COUNT_TOKENS),
    ("POST", "/v1/chat/completions", DialectName.CHAT, Endpoint.CHAT),
    ("POST", "/v1/embeddings", DialectName.CHAT, Endpoint.EMBEDDINGS),
    ("POST", "/v1/responses", DialectName.RESPONSES, Endpoint.RESPONSES),
    ("GET", "/v1/models", DialectName.CHAT, Endpoint.MODELS),
    ("GET", "/v1/models/org/name-7b.q4:free", DialectName.CHAT, Endpoint.MODELS),
    ("GET", "/v1beta/models", DialectName.GEMINI, Endpoint.MODELS),
    ("GET", "/v1beta/models/gemini-pro", DialectName.GEMINI, Endpoint.MODELS),
    ("POST", "/v1beta/models/g-2.5-pro:generateContent", DialectName.GEMINI, Endpoint.GENERATE),
    ("POST", "/v1beta/models/g:streamGenerateContent", DialectName.GEMINI, Endpoint.GENERATE),
    ("POST", "/v1beta/models/g:countTokens", DialectName.GEMINI, Endpoint.COUNT_TOKENS),
    ("POST", "/v1beta/models/g:embedContent", DialectName.GEMINI, Endpoint.EMBEDDINGS),
    ("POST", "/v1/models/g:generateContent", DialectName.GEMINI, Endpoint.GENERATE),
]


@pytest.mark.parametrize(("method", "path", "name", "endpoint"), PLACES)
def test_listed_requests_find_their_dialect(
    method: str, path: str, name: DialectName, endpoint: Endpoint
) -> None:
    place = table.find(method, path)
    assert (place.dialect.name, place.endpoint, place.probe) == (name, endpoint, False)


@pytest.mark.parametrize(("method", "path", "name", "endpoint"), PLACES)
def test_a_listed_path_with_another_method_names_the_right_one(
    method: str, path: str, name: DialectName, endpoint: Endpoint
) -> None:
    for wrong in {"GET", "POST", "PUT", "DELETE", "OPTIONS", "", "POST, GET"} - {method}:
        place = table.find(wrong, path)
        assert (place.endpoint, place.allowed, place.dialect.name) == (None, method, name)


def test_probes_are_no_endpoints() -> None:
    for method in ("GET", "HEAD"):
        place = table.find(method, "/")
        assert place.probe
        assert place.endpoint is None
    assert table.find("POST", "/").allowed == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/v1",
        "/v1/",
        "/v1/messages/",
        "//v1/messages",
        "/v1//messages",
        "/v1/../v1/messages",
        "/v1/models/..",
        "/v1/models/../messages",
        "/v1/models/a/../b",
        "/v1/models/.hidden",
        "/v1/models//a",
        "/v1/models/",
        "/v1/models/a%2fb",
        "/v1/models/a%2Fb",
        "/v1/models/a\n",
        "/v1/models/a b",
        "/v1/models/a;b",
        "/v1/models/ä",
        "/v1/messages/batches",
        "/v1/responses/resp_1",
        "/v1/files",
        "/V1/messages",
        "/v1beta/models/a/b:generateContent",
        "/v1beta/models/g:batchGenerateContent/x",
        "/v1beta/models/%2e%2e:generateContent",
        "/v1beta/cachedContents",
        "http://elsewhere/v1/messages",
    ],
)
def test_nothing_else_is_found(path: str) -> None:
    for method in ("GET", "POST", "HEAD"):
        place = table.find(method, path)
        assert (place.endpoint, place.probe, place.allowed) == (None, False, "")


def test_what_is_not_found_is_said_in_the_likeliest_dialect() -> None:
    assert table.find("POST", "/v1/messages/x").dialect.name is DialectName.ANTHROPIC
    assert table.find("POST", "/v1beta/x").dialect.name is DialectName.GEMINI
    assert table.find("POST", "/x").dialect.name is DialectName.CHAT
