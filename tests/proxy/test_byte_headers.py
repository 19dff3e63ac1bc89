"""Which headers pass, which do not, and that nothing happens to a query."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy.byte_provider import Passage, on_the_wire
from tests.proxy.odd_answers import (
    EVENTS,
    JSON,
    STREAMS,
    request_of,
)
from tests.proxy.odd_bodies import PLACES

PASSED = (
    "accept: application/json",
    "anthropic-beta: claude-code-20250219,context-1m-2025-08-07",
    "anthropic-beta: from-the-future-2099-01-01",
    "anthropic-version: 2023-06-01",
    "anthropic-dangerous-direct-browser-access: true",
    "user-agent: claude-cli/9.9.9 (external, sdk-cli)",
    "x-claude-code-session-id: 5a",
    "x-stainless-retry-count: 0",
    "x-app: cli",
    "openai-organization: org-1",
    "openai-beta: responses=experimental",
    'x-codex-turn-metadata: {"a": "b", "c":\t1.0}',
    "originator: codex_exec",
    "x-goog-api-client: google-genai-sdk/1.30.0 gl-node/v20",
    "traceparent: 00-ab-cd-01",
    "idempotency-key: k",
    "accept-language: *",
    'x-odd: tab\there, ü, ; = "quoted"  two spaces',
    "content-type: application/json; charset=utf-8",
    "x-empty: ",
)
HELD_BACK = (
    "Connection: keep-alive, X-For-One-Hop",
    "X-For-One-Hop: secret-hop",
    "Keep-Alive: timeout=secret-5",
    "TE: secret-trailers",
    "Trailer: secret-trailer",
    "Upgrade: secret-upgrade",
    "Proxy-Authorization: Basic secret-proxy",
    "Proxy-Connection: secret-keep",
    "Cookie: session=secret-cookie",
    "Forwarded: for=secret-1",
    "Via: secret-via",
    "X-Forwarded-For: secret-2",
    "X-Forwarded-Host: secret-3",
    "X-Real-IP: secret-4",
    "Referer: http://secret-5/",
    "Accept-Encoding: secret-zip",
    "X-Fleet-Dedup: off",
    "X-Fleet-Secret: secret-6",
)


def test_headers_pass_in_order_but_for_those_of_one_hop_and_of_the_way(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        mixed = [line for pair in zip(PASSED, HELD_BACK, strict=False) for line in pair]
        sent = [*mixed, *PASSED[len(HELD_BACK) :]]
        assert set(sent) == {*PASSED, *HELD_BACK}
        for place in PLACES:
            await passage.ask(place, b'{"model":"demo"}', *sent)
            came = passage.provider.last
            host = f"127.0.0.1:{passage.provider.port}"
            added = [f"host: {host}", "accept-encoding: identity", "content-length: 16"]
            assert came.raw.decode().removesuffix("\r\n\r\n").split("\r\n") == [
                f"POST {place} HTTP/1.1",
                added[0],
                *PASSED,
                *added[1:],
            ]
            assert b"secret" not in came.raw
            assert passage.proxy.token.encode() not in came.raw

    on_the_wire(tmp_path, scenario)


@pytest.mark.parametrize(
    "query", ["?beta=true", "?a=%20b+c&a=2&&x", "?", "?beta=true&x=%2Fv1%2e", "?key", "?keys=1"]
)
def test_a_query_passes_as_it_is(tmp_path: Path, query: str) -> None:
    async def scenario(passage: Passage) -> None:
        for place in ("/v1/messages", "/v1/chat/completions", "/v1beta/models/g:generateContent"):
            await passage.ask(place + query, b'{"model":"demo"}')
            assert passage.provider.last.line == f"POST {place}{query} HTTP/1.1"

    on_the_wire(tmp_path, scenario)


def test_headers_of_an_answer_pass_but_for_those_of_one_hop(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        passed = (
            (b"anthropic-ratelimit-requests-remaining", b"4"),
            (b"x-ratelimit-reset-tokens", b"1m3.5s"),
            (b"request-id", b"req_1"),
            (b"openai-processing-ms", b"12"),
            (b"server-timing", b"a;dur=1.0"),
            (b"server-timing", b"b;dur=2.0"),
            (b"x-odd", b"tab\there, \xc3\xbc  two"),
        )
        held_back = (
            (b"Set-Cookie", b"secret=1"),
            (b"Alt-Svc", b'h3="secret"'),
            (b"Keep-Alive", b"timeout=secret"),
            (b"Proxy-Authenticate", b"secret"),
            (b"Connection", b"keep-alive, x-hop"),
            (b"X-Hop", b"secret"),
        )
        lines = b"".join(b"%b: %b\r\n" % pair for pair in (*held_back, *passed))
        for place, stream in STREAMS.items():
            for kind, body in ((EVENTS, stream), (JSON, b"{}")):
                passage.provider.answers(kind, body, more=lines)
                answer = await passage.ask(place, request_of(place))
                ours = {b"x-fleet-dedup", b"content-type", b"content-length", b"transfer-encoding"}
                assert tuple(pair for pair in answer.headers if pair[0] not in ours) == passed
                assert answer.body == body

    on_the_wire(tmp_path, scenario)
