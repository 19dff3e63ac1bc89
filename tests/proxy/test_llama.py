"""A llama.cpp server as upstream: never more calls than it has slots, and all of them streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from fleet.core.usage import Usage
from fleet.store.traffic import latest_calls
from tests.proxy.http.client_fakes import request, upstream
from tests.proxy.http.engine_fakes import Wire, until
from tests.proxy.running import Running, running

TIMINGS = {"cache_n": 100, "prompt_n": 5, "predicted_n": 7, "predicted_per_second": 41.5}
USAGE = {"prompt_tokens": 105, "completion_tokens": 7, "total_tokens": 112}
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
LOCAL = """
[proxy]
grace = 0.02
[proxy.upstreams.local]
kind = "llama-cpp"
url = "http://127.0.0.1:{port}"
"""


def chunk(delta: dict[str, str], end: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": end}
    said = {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}
    return b"data: %b\n\n" % json.dumps(said).encode()


def spoken(**last: object) -> tuple[bytes, bytes]:
    """The first half of an answer, and the second."""
    first = chunk({"role": "assistant", "content": "Good "})
    rest = chunk({"content": "day."}) + chunk({}, "stop", **last)
    return first, rest + b"data: [DONE]\n\n"


@dataclass
class Server:
    """As llama.cpp's: tells its slots when it is allowed to, and ends an answer when it is."""

    props: bytes = b'{"total_slots": 3, "default_generation_settings": {}}'
    status: int = 200
    halves: tuple[bytes, bytes] = field(default_factory=lambda: spoken(timings=TIMINGS))
    silent: bool = False
    may_end: int = 0  # so many answers
    came: list[bytes] = field(default_factory=list)
    busy: int = 0
    most: int = 0
    gone: int = 0
    port: int = 0

    async def serve(self, wire: Wire, _number: int) -> None:
        while True:
            head, body = await request(wire)
            if head.startswith(b"GET /props "):
                while self.silent:
                    await asyncio.sleep(0.001)
                framing = b"HTTP/1.1 %d OK\r\ncontent-length: %d\r\n\r\n"
                await wire.send(framing % (self.status, len(self.props)) + self.props)
                continue
            self.came.append(body)
            self.busy += 1
            self.most = max(self.most, self.busy)
            try:
                await self._answer(wire)
            finally:
                self.busy -= 1

    async def has(self, number: int) -> None:
        """Until so many calls have come."""
        await until(lambda: len(self.came) == number)

    async def _answer(self, wire: Wire) -> None:
        first, rest = self.halves
        kind = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        await wire.send(kind + b"content-length: %d\r\n\r\n" % len(first + rest) + first)
        while not self.may_end:
            if wire.reader.at_eof() or wire.reader.exception():
                self.gone += 1
                raise ConnectionResetError
            await asyncio.sleep(0.001)
        self.may_end -= 1
        await wire.send(rest)


@dataclass(frozen=True, slots=True)
class Setting:
    proxy: Running
    llama: Server
    client: httpx.AsyncClient

    async def ask(self, text: str, place: str = CHAT, **more: object) -> httpx.Response:
        asked = {"model": "any", "messages": [{"role": "user", "content": text}], **more}
        return await self.client.post(self.proxy.url + place, json=asked, timeout=10)


def beside(folder: Path, scenario: Callable[[Setting], Awaitable[None]], **server: object) -> None:
    async def run() -> None:
        async with _setting(folder, Server(**server)) as found:  # type: ignore[arg-type]
            await scenario(found)

    asyncio.run(run())


@contextlib.asynccontextmanager
async def _setting(folder: Path, llama: Server) -> AsyncIterator[Setting]:
    async with (
        upstream(llama.serve) as llama.port,
        running(folder, LOCAL.format(port=llama.port)) as proxy,
        httpx.AsyncClient() as client,
    ):
        yield Setting(proxy, llama, client)


def test_calls_are_as_many_as_slots_and_one_until_the_server_has_said(tmp_path: Path) -> None:
    async def scenario(setting: Setting) -> None:
        llama = setting.llama
        asking = asyncio.gather(
            *(setting.ask(f"question {number}", stream=number % 2 == 0) for number in range(10))
        )
        rooms = setting.proxy.plant.pipeline.rooms
        await until(lambda: rooms.inference.occupancy + rooms.stream.occupancy == 10)
        await asyncio.sleep(0.02)
        assert llama.most == 1
        llama.silent = False
        await until(lambda: llama.busy == 3)
        await asyncio.sleep(0.02)
        assert (llama.busy, len(llama.came)) == (3, 3)
        llama.may_end = 10
        answers = await asking
        assert all("day." in answer.text for answer in answers)
        assert (llama.most, len(llama.came), llama.gone) == (3, 10, 0)

    beside(tmp_path, scenario, silent=True)


@pytest.mark.parametrize(
    ("status", "props"),
    [
        (404, b"{}"),
        (503, b'{"error":{"message":"Loading model"}}'),
        (200, b"{}"),
        (200, b"not JSON"),
        (200, b'{"total_slots": "many"}'),
        (200, b'{"total_slots": 0}'),
    ],
)
def test_a_server_that_does_not_say_gets_one_call_at_a_time(
    tmp_path: Path, status: int, props: bytes
) -> None:
    async def scenario(setting: Setting) -> None:
        llama = setting.llama
        asking = asyncio.gather(*(setting.ask(f"question {number}") for number in range(3)))
        for number in range(1, 4):
            await llama.has(number)
            await asyncio.sleep(0.01)
            assert (len(llama.came), llama.busy) == (number, 1)
            llama.may_end = 1
        assert [answer.status_code for answer in await asking] == [200] * 3
        assert llama.most == 1

    beside(tmp_path, scenario, status=status, props=props)


def test_who_wants_one_body_gets_it_folded_from_a_stream(tmp_path: Path) -> None:
    async def scenario(setting: Setting) -> None:
        setting.llama.may_end = 1
        sent = b'{ "model":"any", "messages":[],"n":1.0}'
        answer = await setting.client.post(setting.proxy.url + CHAT, content=sent)
        asked = b'{"stream_options":{"include_usage":true},"stream":true, "model":"any"'
        assert setting.llama.came == [asked + b', "messages":[],"n":1.0}']
        assert answer.headers["content-type"] == "application/json"
        said = answer.json()
        assert said["object"] == "chat.completion"
        assert said["choices"][0]["message"] == {"role": "assistant", "content": "Good day."}
        assert said["choices"][0]["finish_reason"] == "stop"
        assert said["timings"] == TIMINGS

    beside(tmp_path, scenario)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "last", [{"timings": TIMINGS}, {"timings": TIMINGS, "usage": USAGE}], ids=["bare", "usage"]
)
def test_what_its_timings_say_is_counted_and_costs_nothing(
    tmp_path: Path, last: dict[str, object], stream: bool
) -> None:
    async def scenario(setting: Setting) -> None:
        setting.llama.may_end = 1
        answer = await setting.ask("hello", stream=stream)
        assert "day." in answer.text
        db = setting.proxy.calls_db()
        (call,) = latest_calls(db, 10)
        db.close()
        assert call.usage == Usage(input=5, cache_read=100, output=7)
        assert (call.upstream, call.priced, call.cost) == ("local", True, 0)

    beside(tmp_path, scenario, halves=spoken(**last))


def test_who_leaves_gives_a_slot_back_and_who_leaves_the_line_never_had_one(
    tmp_path: Path,
) -> None:
    async def scenario(setting: Setting) -> None:
        llama, rooms = setting.llama, setting.proxy.plant.pipeline.rooms
        llama.props = b'{"total_slots": 1}'
        async with asyncio.TaskGroup() as group:
            first = group.create_task(setting.ask("first"))
            await until(lambda: llama.busy == 1)
            second = group.create_task(setting.ask("second"))
            third = group.create_task(setting.ask("third"))
            await until(lambda: rooms.inference.occupancy == 3)
            second.cancel()
            await until(lambda: rooms.inference.occupancy == 2)
            await until(lambda: len(setting.proxy.plant.flights) == 2)
            assert len(llama.came) == 1
            first.cancel()
            await until(lambda: llama.gone == 1)
            llama.may_end = 1
            assert "day." in (await third).text
        assert [json.loads(body)["messages"][0]["content"] for body in llama.came] == [
            "first",
            "third",
        ]

    beside(tmp_path, scenario)


def test_anthropics_dialect_is_spoken_to_it_as_well(tmp_path: Path) -> None:
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ]
    halves = tuple(
        b"".join(
            b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), json.dumps(event).encode())
            for event in half
        )
        for half in (events[:3], events[3:])
    )

    async def scenario(setting: Setting) -> None:
        setting.llama.may_end = 1
        answer = await setting.ask("hello", MESSAGES, max_tokens=10)
        assert json.loads(setting.llama.came[0])["stream"] is True
        assert answer.json()["content"] == [{"type": "text", "text": "Hi"}]
        assert answer.json()["usage"]["output_tokens"] == 2

    beside(tmp_path, scenario, halves=halves)
