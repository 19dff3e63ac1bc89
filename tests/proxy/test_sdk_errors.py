"""What goes wrong is the same exception of an SDK with the proxy as without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from openai.types.responses import ResponseErrorEvent

from fleet.store.traffic import totals
from tests.proxy.sdk_sides import Json, Way, Ways, asked, on_both_ways, seen

SCRIPT = """
[[rules]]
when = "busy"
times = 1
error = 529
retry_after = 0.01
[[rules]]
when = "breaks"
text = "This one will never come to its end, whatever happens."
cut = "midway"
[[rules]]
text = "Hello."
"""
each_api = pytest.mark.parametrize("name", ["messages", "chat", "responses"])
STATUSES = (400, 401, 403, 404, 413, 422, 500, 503, 529)
FAILING = "".join(
    f'[[rules]]\nwhen = "status {status}"\nerror = {status}\nmessage = "this is a {status}"\n'
    + ("retry_after = 7\n" if status == 529 else "")
    for status in STATUSES
)
WELL = '[[rules]]\nwhen = "well"\ntext = "Yes."\n'


@each_api
def test_errors_are_the_same_exceptions(tmp_path: Path, name: str) -> None:
    async def caught(way: Way, ask: Json) -> tuple[object, ...]:
        with pytest.raises((anthropic.APIStatusError, openai.APIStatusError)) as raised:
            await way.ask(name, **ask)
        error: Any = raised.value
        retry_after = error.response.headers.get("retry-after")
        return type(error), error.status_code, error.message, error.body, retry_after

    async def scenario(ways: Ways) -> None:
        for status in STATUSES:
            for stream in (False, True):
                ask = asked(name, f"status {status}", stream=stream)
                found = await caught(ways.proxied, ask)
                direct = await caught(ways.direct, ask)
                assert found == direct
                assert found[1] == status
                assert f"this is a {status}" in str(found[2])
                assert found[4] == ("7" if status == 529 else None)
            await ways.proxied.ask(name, **asked(name, f"well {status}"))  # no breaker opens

    on_both_ways(tmp_path, FAILING + WELL, scenario)


@each_api
def test_an_sdk_that_tries_again_gets_its_answer(tmp_path: Path, name: str) -> None:
    async def scenario(ways: Ways) -> None:
        way = ways.way(ways.proxy.url, retries=1)
        answer = await way.ask(name, **asked(name, "busy"))
        assert "Hello." in str(answer.model_dump())
        db = ways.proxy.calls_db()
        assert totals(db).calls == 2
        db.close()

    on_both_ways(tmp_path, SCRIPT, scenario)


def test_a_stream_that_breaks_ends_with_an_error_of_the_sdks_own(tmp_path: Path) -> None:
    async def scenario(ways: Ways) -> None:
        for name, error in (("messages", anthropic.APIStatusError), ("chat", openai.APIError)):
            with pytest.raises(error, match="closed the connection"):
                await ways.proxied.events(name, **asked(name, "breaks"))
        *_, last = await ways.proxied.events("responses", **asked("responses", "breaks"))
        assert isinstance(last, ResponseErrorEvent)
        assert "closed the connection" in last.message

    on_both_ways(tmp_path, SCRIPT, scenario)


# -- who asks ---------------------------------------------------------------------------------


def test_a_token_is_taken_as_bearer_as_api_key_and_in_the_path(tmp_path: Path) -> None:
    async def scenario(ways: Ways) -> None:
        token, base = ways.proxy.token, f"http://127.0.0.1:{ways.proxy.server.port}"
        by_key = ways.way(base, key=token)  # Anthropic's as x-api-key, OpenAI's as bearer
        both = ways.way(ways.proxy.url, key=token)
        for name in ("messages", "chat", "responses"):
            direct = seen(await ways.direct.ask(name, **asked(name, "hi")))
            for way in (by_key, ways.proxied, both):
                assert seen(await way.ask(name, **asked(name, "hi"))) == direct
        by_bearer = anthropic.AsyncAnthropic(base_url=base, auth_token=token, max_retries=0)
        async with by_bearer:
            message = await by_bearer.messages.create(**asked("messages", "hi"))
        assert seen(message) == seen(await ways.direct.ask("messages", **asked("messages", "hi")))

    on_both_ways(tmp_path, SCRIPT, scenario)


def test_a_token_that_is_none_is_the_sdks_authentication_error(tmp_path: Path) -> None:
    async def scenario(ways: Ways) -> None:
        base = f"http://127.0.0.1:{ways.proxy.server.port}"
        for url, key in ((base, "guess"), (f"{base}/a/guess", ways.proxy.token)):
            way = ways.way(url, key=key)
            for name in ("messages", "chat", "responses"):
                with pytest.raises(
                    (anthropic.AuthenticationError, openai.AuthenticationError),
                    match="not the token of a live attempt",
                ):
                    await way.ask(name, **asked(name, "hi"))

    on_both_ways(tmp_path, SCRIPT, scenario)
