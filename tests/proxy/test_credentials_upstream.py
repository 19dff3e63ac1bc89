"""Which secrets reach a provider: the one that is its own, or the login of who asks, and never the
token of an attempt."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from fleet.store import tokens
from fleet.store.database import Database
from tests.proxy.byte_provider import Passage, on_the_wire

KEYS = {
    "KEY_OF_ANTHROPIC": "canary-anthropic",
    "KEY_OF_OPENAI": "canary-openai",
    "KEY_OF_GEMINI": "canary-gemini",
    "KEY_OF_NOBODY": "canary-nobody",
}
WITH_KEYS = "".join(
    f'[proxy.upstreams.of-{kind}]\nkind = "{kind}"\nurl = "{{url}}"\n'
    f'keys = "KEY_OF_{kind.upper()}"\n'
    for kind in ("anthropic", "openai", "gemini")
)
WITHOUT_KEYS = "".join(
    line for line in WITH_KEYS.splitlines(keepends=True) if not line.startswith("keys")
)
BEARER = WITHOUT_KEYS.replace(
    'kind = "anthropic"', 'kind = "anthropic"\nkeys = "KEY_OF_ANTHROPIC"\nauth = "bearer"'
)
GENERATE = "/v1beta/models/gemini-demo:generateContent"
OWN = {  # where each kind of provider is shown its key, and what it is there
    "/v1/messages": ("x-api-key", b"canary-anthropic"),
    "/v1/messages/count_tokens": ("x-api-key", b"canary-anthropic"),
    "/v1/chat/completions": ("authorization", b"Bearer canary-openai"),
    "/v1/responses": ("authorization", b"Bearer canary-openai"),
    "/v1/embeddings": ("authorization", b"Bearer canary-openai"),
    GENERATE: ("x-goog-api-key", b"canary-gemini"),
}
PLACES = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
BODY = b'{"model":"demo"}'


def shown(passage: Passage) -> dict[str, list[bytes]]:
    """Every credential of the last call."""
    came = passage.provider.last
    assert b"key=" not in came.line.encode()
    return {name: came.all(name) for name in PLACES if came.all(name)}


def test_a_provider_is_shown_its_own_key_and_no_other(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        token = passage.proxy.token
        for place, (header, value) in OWN.items():
            ways = [
                (f"/a/{token}{place}", ()),
                (place, (f"Authorization: Bearer {token}",)),
                (place, (f"authorization: bearer  {token}",)),
                (place, (f"X-Api-Key: {token}",)),
                (place, (f"x-goog-api-key: {token}",)),
                (place, (f"api-key: {token}",)),
                (f"{place}?key={token}", ()),
                (place, (f"Authorization: Bearer {token}", f"X-Api-Key: {token}")),
                (f"/a/{token}{place}", (f"Authorization: Bearer {token}", "api-key: login")),
                (f"/a/{token}{place}", ("Authorization: Bearer login", "x-api-key: login-2")),
                (f"/a/{token}{place}?key=login", ("x-goog-api-key: login",)),
            ]
            for target, headers in ways:
                answer = await passage.asker.ask(target, BODY, *headers)
                assert answer.status == 200, (target, headers)
                found = dict(passage.provider.last.headers)
                assert found[header.encode()] == value
                came = passage.provider.last
                assert [name for name in PLACES if came.all(name)] == [header]
                assert came.all(header) == [value]
                assert came.raw.count(b"canary") == 1
                assert token.encode() not in came.raw + came.body

    on_the_wire(tmp_path, scenario, WITH_KEYS, KEYS)


def test_a_key_may_be_shown_as_bearer(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        await passage.ask("/v1/messages", BODY, "x-api-key: login")
        assert shown(passage) == {"authorization": [b"Bearer canary-anthropic"]}
        await passage.ask("/v1/chat/completions", BODY)
        assert shown(passage) == {}

    on_the_wire(tmp_path, scenario, BEARER, KEYS)


@pytest.mark.parametrize(
    "login",
    [
        ("authorization: Bearer oauth-1", "anthropic-beta: oauth-2025-04-20"),
        ("x-api-key: own-key",),
        ("x-goog-api-key: own-key",),
        ("authorization: Bearer oauth-1", "x-api-key: own-key"),
    ],
)
def test_with_the_token_in_the_path_a_login_of_the_clients_own_passes(
    tmp_path: Path, login: tuple[str, ...]
) -> None:
    async def scenario(passage: Passage) -> None:
        for place in OWN:
            await passage.ask(place, BODY, *login)
            came = passage.provider.last
            sent = {tuple(line.encode().split(b": ", 1)) for line in login}
            assert sent <= set(came.headers)
            assert sum(map(len, shown(passage).values())) == sum("beta" not in s for s in login)
            assert passage.proxy.token.encode() not in came.raw

    on_the_wire(tmp_path, scenario, WITHOUT_KEYS, KEYS)


def test_a_key_of_the_clients_own_in_the_query_passes_too(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        await passage.ask(f"{GENERATE}?alt=json&key=own-key&x=1", BODY)
        assert passage.provider.last.line == f"POST {GENERATE}?alt=json&key=own-key&x=1 HTTP/1.1"
        token = passage.proxy.token
        await passage.asker.ask(f"{GENERATE}?alt=json&key={token}&x=1", BODY)
        assert passage.provider.last.line == f"POST {GENERATE}?alt=json&x=1 HTTP/1.1"

    on_the_wire(tmp_path, scenario, WITHOUT_KEYS, KEYS)


def test_without_keys_and_logins_a_provider_is_shown_nothing(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        for place in OWN:
            await passage.asker.ask(place, BODY, f"x-api-key: {passage.proxy.token}")
            assert shown(passage) == {}
            assert passage.proxy.token.encode() not in passage.provider.last.raw
        assert len(passage.provider.came) == len(OWN)

    on_the_wire(tmp_path, scenario, WITHOUT_KEYS, KEYS)


def test_answers_bought_with_different_logins_are_not_shared(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        url = f"/a/{passage.proxy.new_token()}/v1/messages"
        whole = b'{"type":"message","content":[],"stop_reason":"end_turn"}'
        passage.provider.answers("application/json", whole)
        said = [
            await passage.ask("/v1/messages", BODY, "x-api-key: one"),
            await passage.asker.ask(url, BODY, "x-api-key: two"),
            await passage.asker.ask(url, BODY, "x-api-key: one"),
            await passage.asker.ask(url, BODY),
        ]
        told = [answer.all("x-fleet-dedup") for answer in said]
        assert told == [[b"leader"], [b"leader"], [b"replayed"], [b"leader"]]

    on_the_wire(tmp_path, scenario, WITHOUT_KEYS, KEYS)


def test_lists_of_models_are_asked_for_with_the_right_keys(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        for headers in ((), ("authorization: Bearer login",)):
            passage.provider.came.clear()
            answer = await passage.ask("/v1/models", b"", *headers, method="GET")
            assert answer.status == 200
            came = sorted(one.line for one in passage.provider.came)
            assert [line.split("?")[0] for line in came] == [
                "GET /v1/models",
                "GET /v1/models",
                "GET /v1beta/models HTTP/1.1",
            ]
            found = [
                (name, value)
                for one in passage.provider.came
                for name in PLACES
                for value in one.all(name)
            ]
            assert sorted(found) == sorted({(name, value) for name, value in OWN.values()})
            for one in passage.provider.came:
                assert passage.proxy.token.encode() not in one.raw

    on_the_wire(tmp_path, scenario, WITH_KEYS, KEYS)


# -- who is not let in ------------------------------------------------------------------------

SAYS = "this is not the token of a live attempt"


@pytest.mark.parametrize("place", [*OWN, "/v1/models", "/v1beta/models"])
def test_without_a_live_token_the_dialects_own_401_is_all_there_is(
    tmp_path: Path, place: str
) -> None:
    async def scenario(passage: Passage) -> None:
        revoked = passage.proxy.new_token()
        method = "GET" if place.endswith("models") else "POST"
        body = b"" if method == "GET" else BODY
        ask = passage.asker.ask
        bearer = f"authorization: Bearer {revoked}"
        assert (await ask(place, body, bearer, method=method)).status == 200
        with contextlib.closing(Database(passage.proxy.layout.database)) as db:
            tokens.revoke(db, revoked)
        passage.provider.came.clear()
        tries = (
            ("", ()),
            ("", ("authorization: Bearer guess",)),
            ("", ("authorization: Basic Z3Vlc3M6",)),
            ("", ("x-api-key: " + "g" * 5000,)),
            ("", ("authorization: Bearer canary-openai",)),
            ("/a/guess", ()),
            ("/a/", ()),
            ("/a/guess", (f"x-api-key: {passage.proxy.token}",)),
            ("/a/" + revoked, ()),
            ("", (bearer,)),
        )
        async with asyncio.timeout(5):  # the ledger is looked at a few times a second
            while (await ask(place, body, bearer, method=method)).status == 200:
                await asyncio.sleep(0.01)
        passage.provider.came.clear()
        for prefix, headers in tries:
            answer = await ask(f"{prefix}{place}", body, *headers, method=method)
            assert answer.status == 401, (prefix, headers)
            assert answer.all("content-type") == [b"application/json"]
            assert answer.all("x-fleet-dedup") == []
            said = json.loads(answer.body)
            if place.startswith("/v1/messages"):
                assert said.pop("request_id").encode() in answer.all("request-id")
                assert said == {
                    "type": "error",
                    "error": {"type": "authentication_error", "message": SAYS},
                }
            elif place.startswith("/v1beta"):
                assert said == {
                    "error": {"code": 401, "message": SAYS, "status": "UNAUTHENTICATED"}
                }
            else:
                error = {"type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
                assert said == {"error": {**error, "message": SAYS}}
        assert passage.provider.came == []

    on_the_wire(tmp_path, scenario, WITH_KEYS, KEYS)
