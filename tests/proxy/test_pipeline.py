from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.wire import Reply
from fleet.store.traffic import latest_calls, latest_served, totals
from tests.proxy.running import running

SCRIPT = """
models = ["demo"]
[[rules]]
when = "slow"
text = "took its time"
delay = "0.2s"
[[rules]]
when = "refuse"
error = 400
message = "prompt is too long"
[[rules]]
text = "hello there"
"""
CHAT = """
[proxy.upstreams.demo]
kind = "openai"
url = "http://127.0.0.1:{port}"
stream_usage = {asks}
"""
CACHE_PRICES = ("cache_read", "cache_write_5m", "cache_write_1h")
FLEET = '[proxy.upstreams.demo]\nkind = "script"\nscript = "model.toml"\n'


def body(text: str, *, stream: bool = False, **more: object) -> bytes:
    asked = {
        "model": "demo",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": text}],
        **more,
    }
    return json.dumps(asked | ({"stream": True} if stream else {})).encode()


def place(folder: Path) -> Path:
    (folder / "repository").mkdir()
    (folder / "repository" / "model.toml").write_text(SCRIPT)
    return folder


def test_a_request_is_answered_and_written_down(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), FLEET) as proxy, httpx.AsyncClient() as client:
            answer = await client.post(f"{proxy.url}/v1/messages", content=body("hi"))
            assert answer.status_code == 200
            assert answer.json()["content"][0]["text"] == "hello there"
            assert answer.headers["x-fleet-dedup"] == "leader"
            db = proxy.calls_db()
            (call,) = latest_calls(db, 10)
            (served,) = latest_served(db, 10)
            db.close()
            assert (call.upstream, call.model, call.status, call.ended) == (
                "demo",
                "demo",
                200,
                "complete",
            )
            assert call.usage.output > 0
            assert call.answered_model == "demo"
            assert (call.priced, call.cost) == (True, 0)
            assert (served.call, served.dedup, served.gone) == (call.id, "leader", False)

    asyncio.run(scenario())


def test_equal_requests_at_once_are_one_call_in_every_mix(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), FLEET) as proxy, httpx.AsyncClient() as client:
            answers = await asyncio.gather(
                *(
                    client.post(
                        f"{proxy.url}/v1/messages", content=body("slow", stream=number % 2 == 1)
                    )
                    for number in range(10)
                )
            )
            said = [answer.headers["x-fleet-dedup"] for answer in answers]
            assert sorted(said) == ["joined"] * 9 + ["leader"]
            for number, answer in enumerate(answers):
                assert "took its time" in answer.text
                assert answer.text.startswith("event: " if number % 2 else "{")
            db = proxy.calls_db()
            found = totals(db)
            db.close()
            assert (found.requests, found.calls, found.joined) == (10, 1, 9)
            assert found.saved.output == 9 * found.usage.output

    asyncio.run(scenario())


def test_an_answer_is_replayed_to_others_but_not_to_who_had_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), FLEET) as proxy, httpx.AsyncClient() as client:
            other = proxy.new_token()

            async def ask(url: str) -> str:
                answer = await client.post(f"{url}/v1/messages", content=body("hi"))
                return str(answer.headers["x-fleet-dedup"])

            assert await ask(proxy.url) == "leader"
            assert await ask(proxy.url_of(other)) == "replayed"
            assert await ask(proxy.url) == "leader"  # it wants a new sample
            assert await ask(proxy.url_of(other)) == "replayed"  # the new one it has not had
            assert await ask(proxy.url_of(other)) == "leader"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("how", "headers", "fleet", "said"),
    [
        ("session: others lead", {}, '[proxy]\ndedup = "session"\n', "leader"),
        ("off", {}, '[proxy]\ndedup = "off"\n', "bypass:off"),
        ("asked for", {"x-fleet-dedup": "off"}, "", "bypass:asked"),
    ],
)
def test_who_may_share_is_configured(
    tmp_path: Path, how: str, headers: dict[str, str], fleet: str, said: str
) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), fleet + FLEET) as proxy, httpx.AsyncClient() as client:
            other = proxy.url_of(proxy.new_token())
            for url in (proxy.url, other):
                answer = await client.post(
                    f"{url}/v1/messages", content=body("hi"), headers=headers
                )
                assert answer.headers["x-fleet-dedup"] == said

    asyncio.run(scenario())


def test_a_providers_refusal_is_passed_on_and_never_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), FLEET) as proxy, httpx.AsyncClient() as client:
            for _ in range(2):
                answer = await client.post(f"{proxy.url}/v1/messages", content=body("refuse"))
                assert answer.status_code == 400
                assert answer.json()["error"]["message"] == "prompt is too long"
                assert answer.headers["x-fleet-dedup"] == "leader"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/messages", 405),
        ("POST", "/v1/files", 404),
        ("POST", "/v1/../v1/messages", 404),
        ("HEAD", "/", 200),
        ("GET", "/v1/models", 200),
    ],
)
def test_only_known_places_are_served(tmp_path: Path, method: str, path: str, status: int) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), FLEET) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.server.port)
            head = f"{method} /a/{proxy.token}{path} HTTP/1.1\r\nhost: localhost\r\n"
            writer.write(f"{head}content-length: 0\r\n\r\n".encode())
            assert (await reader.readline()).split()[1] == str(status).encode()
            writer.close()
            await writer.wait_closed()

    asyncio.run(scenario())


def test_a_token_that_is_none_is_refused_in_the_callers_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), FLEET) as proxy, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{proxy.server.port}"
            answer = await client.post(
                f"{url}/v1/messages", content=body("hi"), headers={"x-api-key": "guess"}
            )
            assert answer.status_code == 401
            assert answer.json()["error"]["type"] == "authentication_error"
            answer = await client.post(f"{url}/v1/chat/completions", content=body("hi"))
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            for headers in ({"x-api-key": proxy.token}, {"authorization": f"Bearer {proxy.token}"}):
                answer = await client.post(
                    f"{url}/v1/messages", content=body("hi"), headers=headers
                )
                assert answer.status_code == 200

    asyncio.run(scenario())


def test_a_model_nobody_has_is_said_to_be_unknown(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = FLEET + 'models = ["other-*"]\n'
        async with running(place(tmp_path), fleet) as proxy, httpx.AsyncClient() as client:
            answer = await client.post(f"{proxy.url}/v1/messages", content=body("hi"))
            assert answer.status_code == 404
            assert "demo" in answer.json()["error"]["message"]

    asyncio.run(scenario())


def test_rooms_are_empty_when_nobody_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(place(tmp_path), FLEET) as proxy, httpx.AsyncClient() as client:
            for stream in (False, True):
                await client.post(
                    f"{proxy.url}/v1/messages", content=body(f"hi {stream}", stream=stream)
                )
            with pytest.raises(httpx.ReadTimeout):
                await client.post(f"{proxy.url}/v1/messages", content=body("slow"), timeout=0.05)
            await asyncio.sleep(0.3)
            rooms = proxy.plant.pipeline.rooms.all
            assert [room.occupancy for room in rooms] == [0] * 5
            assert rooms[0].entered == 3
            assert rooms[2].entered == 3
            assert rooms[4].entered == 1  # what is not streamed passes in one piece
            assert len(proxy.plant.flights) == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("asks", [True, False])
def test_streams_are_asked_what_they_used_unless_the_provider_minds(
    tmp_path: Path, *, asks: bool
) -> None:
    came: list[bytes] = []

    def answer(exchange: Exchange) -> None:
        came.append(exchange.request.body)
        exchange.reply(Reply(200, ((b"content-type", b"text/event-stream"),), b"data: [DONE]\n\n"))

    async def scenario() -> None:
        provider = await Server.listen("127.0.0.1", 0, answer)
        toml = CHAT.format(port=provider.port, asks=str(asks).lower())
        async with running(tmp_path, toml) as proxy, httpx.AsyncClient() as client:
            asked = body("hi", stream=True)
            await client.post(f"{proxy.url}/v1/chat/completions", content=asked)
            spliced = asked[:-1] + b', "stream_options":{"include_usage":true}}'
            assert json.loads(came[0]) == json.loads(spliced if asks else asked)
        await provider.close()

    asyncio.run(scenario())


class LatePrices:
    """In place of the child that looks prices up: it answers when the test lets it."""

    def __init__(self) -> None:
        self.may = asyncio.Event()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def ask(self, line: bytes) -> bytes:
        del line
        await self.may.wait()
        dollar = dict.fromkeys(("input", "output"), 10**12) | dict.fromkeys(CACHE_PRICES, 0)
        return json.dumps({"price": dollar}).encode()


def test_an_answer_kept_before_its_price_was_known_saves_its_price_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    said = {"object": "chat.completion", "model": "demo", "choices": [choice], "usage": usage}

    def answer(exchange: Exchange) -> None:
        exchange.reply(
            Reply(200, ((b"content-type", b"application/json"),), json.dumps(said).encode())
        )

    async def scenario() -> None:
        prices = LatePrices()
        monkeypatch.setattr("fleet.proxy.plant.pricing.child", lambda _: prices)
        provider = await Server.listen("127.0.0.1", 0, answer)
        toml = CHAT.format(port=provider.port, asks="true")
        async with running(tmp_path, toml) as proxy, httpx.AsyncClient() as client:
            for token in (proxy.token, proxy.new_token()):
                url = f"{proxy.url_of(token)}/v1/chat/completions"
                await client.post(url, content=body("hi"))
                prices.may.set()
                await asyncio.sleep(0.1)
            db = proxy.calls_db()
            found = totals(db)
            db.close()
            assert (found.calls, found.replayed) == (1, 1)
            assert found.cost == found.saved_cost == 1_010_000
        await provider.close()

    asyncio.run(scenario())


def test_a_list_of_models_for_all_is_not_asked_for_in_ones_own_headers(tmp_path: Path) -> None:
    came: list[dict[bytes, bytes]] = []

    def answer(exchange: Exchange) -> None:
        came.append(dict(exchange.request.headers))
        exchange.reply(Reply(200, ((b"content-type", b"application/json"),), b'{"data":[]}'))

    async def scenario() -> None:
        provider = await Server.listen("127.0.0.1", 0, answer)
        toml = CHAT.format(port=provider.port, asks="true")
        async with running(tmp_path, toml) as proxy, httpx.AsyncClient() as client:
            mine = {"anthropic-version": "1066-10-14", "x-mine": "1"}
            await client.get(f"{proxy.url}/v1/models", headers=mine)
        await provider.close()
        assert came[0][b"anthropic-version"] == b"2023-06-01"
        assert b"x-mine" not in came[0]

    asyncio.run(scenario())
