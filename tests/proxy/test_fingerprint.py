from __future__ import annotations

import hashlib
import json

import pytest

from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Dialect, Endpoint
from fleet.proxy.dialects.gemini import Gemini
from fleet.proxy.dialects.responses import Responses
from fleet.proxy.fingerprint import Fingerprints, Key, Seen
from fleet.proxy.wire import Headers
from tests.proxy.fingerprint_bodies import (
    ANTHROPIC,
    CACHED,
    Body,
    compact,
    digest_of,
    look,
)

LONG = "You are a coding agent. " * 300
TOOLS: list[Body] = [{"name": f"tool-{number}", "description": "Reads."} for number in range(3)]


def prefix_of(dialect: Dialect, body: Body, path: str = "") -> bytes:
    return look(dialect, compact(body), path).prefix


def test_the_prefix_is_tools_and_system_up_to_the_last_mark() -> None:
    def prefix(
        tools: object = TOOLS, mark: str = LONG, after: str = "", said: str = "", model: str = "m"
    ) -> bytes:
        system = [{"type": "text", "text": mark, **CACHED}, {"type": "text", "text": after}]
        turn = {"role": "user", "content": [{"type": "text", "text": said, **CACHED}]}
        return prefix_of(
            Anthropic(), {"model": model, "tools": tools, "system": system, "messages": [turn]}
        )

    assert len(prefix()) == 32
    assert prefix() == prefix(after="the date") == prefix(said="hello") == prefix(model="n")
    assert prefix() != prefix(mark=LONG + "!")
    assert prefix() != prefix(tools=TOOLS[:2])


def test_without_a_mark_in_the_system_it_ends_in_the_tools_and_then_in_the_messages() -> None:
    tools = [{"name": "a", "description": LONG, **CACHED}]
    turn = {"role": "user", "content": [{"type": "text", "text": LONG, **CACHED}]}

    def prefix(tools: object, system: object, *turns: object) -> bytes:
        body: Body = {"tools": tools, "system": system, "messages": list(turns)}
        return prefix_of(Anthropic(), body)

    assert prefix(tools, "one") == prefix(tools, "two", turn) != b""
    assert prefix(TOOLS, "one", turn) == prefix(TOOLS, "one", turn, {"role": "user"}) != b""
    assert prefix(TOOLS, "one", turn) != prefix(TOOLS, "two", turn)
    assert prefix(TOOLS, LONG, {"role": "user", "content": LONG}) == b""


def test_the_same_bytes_in_another_member_are_another_prefix() -> None:
    block = {"text": LONG, **CACHED}
    assert prefix_of(Anthropic(), {"tools": [block]}) != prefix_of(Anthropic(), {"system": [block]})


@pytest.mark.parametrize("name", ["tools", "system", "messages"])
def test_what_comes_after_the_mark_counts_for_the_digest(name: str) -> None:
    def look_at(after: str) -> Seen:
        marked = {"text": LONG, **CACHED}
        return look(Anthropic(), compact({"tools": [], name: [marked, after], "z": 1}))

    assert look_at("one").prefix == look_at("two").prefix != b""
    assert look_at("one").digest != look_at("two").digest
    assert look_at("one").digest != look_at("three").digest


def test_a_short_prefix_is_none() -> None:
    def prefix(length: int) -> bytes:
        block = {"type": "text", "text": "x" * length, **CACHED}
        return prefix_of(Anthropic(), {"system": [block]})

    assert prefix(4000) == b""
    assert prefix(4096) != b""


def test_a_mark_within_a_text_is_none() -> None:
    assert prefix_of(Anthropic(), {"system": LONG + json.dumps(CACHED)}) == b""


def test_only_calls_that_fill_a_prompt_cache_have_a_prefix() -> None:
    body: Body = {"system": [{"type": "text", "text": LONG, **CACHED}]}
    assert prefix_of(Anthropic(), body, "/v1/messages/count_tokens") == b""
    assert prefix_of(Responses(), {"input": [{"content": LONG, **CACHED}]}) == b""
    turn = {"role": "system", "content": [{"type": "text", "text": LONG, **CACHED}]}
    assert prefix_of(Chat(), {"messages": [turn]}) != b""


def test_a_prefix_says_nothing_of_the_digest() -> None:
    seen = look(Anthropic(), compact(ANTHROPIC))
    assert seen.prefix
    assert seen.prefix != seen.digest


@pytest.mark.parametrize("body", [b"", b"[]", b"hello", b'{"a":', b'{"a":NaN}', b"[" * 5000])
def test_what_is_no_json_object_shares_nothing(body: bytes) -> None:
    seen = look(Anthropic(), body)
    assert (seen.reason, seen.digest, seen.prefix) == ("not-json", b"", b"")
    assert seen.asked.endpoint is Endpoint.MESSAGES


def test_a_large_body_shares_nothing_but_is_understood() -> None:
    fingerprints = Fingerprints(largest=100)
    body = compact({"model": "m", "stream": True, "messages": ["x" * 100]})
    seen = fingerprints.look(Anthropic(), "/v1/messages", "", body)
    assert (seen.reason, seen.asked.model, seen.asked.stream) == ("large", "m", True)
    assert len(fingerprints) == 0


class Counting(Anthropic):
    asked = 0

    def ask(self, *args: object) -> object:  # type: ignore[override]
        self.asked += 1
        return super().ask(*args)  # type: ignore[arg-type]


def test_a_body_is_read_once_and_remembered_while_it_is_used() -> None:
    fingerprints, dialect = Fingerprints(entries=10), Counting()
    kept = compact({"model": "kept"})
    for number in range(100):
        fingerprints.look(dialect, "/v1/messages", "", compact({"model": str(number)}))  # type: ignore[arg-type]
        fingerprints.look(dialect, "/v1/messages", "", kept)  # type: ignore[arg-type]
        assert len(fingerprints) <= 20
    assert dialect.asked == 101


def test_the_same_body_is_read_again_for_another_dialect_path_or_query() -> None:
    fingerprints, one, other = Fingerprints(), Counting(), Counting()

    def look_at(dialect: Counting, path: str, query: str) -> None:
        fingerprints.look(dialect, path, query, b'{"model":"m"}')  # type: ignore[arg-type]

    look_at(one, "/v1/messages", "")
    look_at(one, "/v1/messages", "beta=true")
    look_at(one, "/v1/messages/count_tokens", "beta=true")
    assert one.asked == 3
    look_at(other, "/v1/messages/count_tokens", "beta=true")
    assert other.asked == 1


def test_the_same_body_elsewhere_is_another_request() -> None:
    fingerprints, body = Fingerprints(), compact(ANTHROPIC)
    message = fingerprints.look(Anthropic(), "/v1/messages", "", body)
    count = fingerprints.look(Anthropic(), "/v1/messages/count_tokens", "", body)
    assert (message.asked.endpoint, count.asked.endpoint) == (
        Endpoint.MESSAGES,
        Endpoint.COUNT_TOKENS,
    )
    models = "/v1beta/models/"
    assert digest_of(Gemini(), b'{"a":1}', models + "x:generateContent") == digest_of(
        Gemini(), b'{"a":1}', models + "x:streamGenerateContent"
    )
    assert digest_of(Gemini(), b'{"a":1}', models + "x:generateContent") != digest_of(
        Gemini(), b'{"a":1}', "/v1/models/x:generateContent"
    )


def _key(
    body: bytes = b'{"model":"m"}',
    *,
    headers: Headers = (),
    upstream: str = "u",
    scope: bytes = b"",
    query: str = "",
    model: str | None = None,
) -> Key:
    fingerprints = Fingerprints()
    seen = fingerprints.look(Anthropic(), "/v1/messages", query, body)
    return fingerprints.key(
        seen, upstream=upstream, scope=scope, headers=headers, query=query, model=model
    )


def test_a_key_tells_apart_what_must_not_share() -> None:
    keys = [
        _key(),
        _key(b'{"model":"n"}'),
        _key(upstream="v"),
        _key(scope=b"other"),
        _key(query="beta=true"),
        _key(model="another"),
        _key(headers=((b"anthropic-version", b"2023-06-01"),)),
        _key(headers=((b"anthropic-version", b"2024-01-01"),)),
        _key(headers=((b"anthropic-beta", b"a"),)),
        _key(headers=((b"anthropic-beta", b"a,b"),)),
        _key(headers=((b"openai-organization", b"a"),)),
    ]
    assert len(set(keys)) == len(keys)
    assert len({hash(key) for key in keys}) == len(keys)


def test_betas_are_a_set_and_other_headers_do_not_count() -> None:
    def key(*headers: tuple[bytes, bytes]) -> Key:
        return _key(headers=headers)

    one = key((b"anthropic-beta", b"a, b,c"), (b"anthropic-version", b"1"))
    assert one == key((b"anthropic-version", b"1"), (b"anthropic-beta", b"c,b,a,b"))
    assert one == key(
        (b"anthropic-beta", b"c"),
        (b"user-agent", b"x"),
        (b"anthropic-beta", b"a,b,"),
        (b"anthropic-version", b"1"),
        (b"x-claude-code-session-id", b"s"),
        (b"authorization", b"Bearer x"),
    )
    assert key((b"anthropic-beta", b"")) == key()


def test_many_sets_of_headers_are_not_kept() -> None:
    fingerprints = Fingerprints()
    seen = fingerprints.look(Anthropic(), "/v1/messages", "", b"{}")
    for number in range(2000):
        headers = ((b"anthropic-beta", b"%d" % number),)
        fingerprints.key(seen, upstream="u", scope=b"", headers=headers, query="")
    assert len(fingerprints._headers) <= 256


def test_nothing_of_a_body_is_kept() -> None:
    fingerprints = Fingerprints()
    body = compact({"model": "m", "messages": [{"role": "user", "content": "the secret"}]})
    seen = fingerprints.look(Anthropic(), "/v1/messages", "", body)
    assert "secret" not in repr((seen, fingerprints._young, fingerprints._old))
    assert hashlib.sha256(body).digest() in fingerprints._young
