"""What a hostile agent or a hostile provider gets out of the proxy: nothing, and not much of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path

import httpx
import pytest

from fleet.config import UpstreamKind
from fleet.core.traffic import Ended
from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Dialect
from fleet.proxy.dialects.lenient import LONGEST_MODEL
from fleet.proxy.dialects.responses import Responses
from fleet.proxy.fetch import MOST_BYTES, fetch
from fleet.proxy.fingerprint import Fingerprints
from fleet.proxy.flight import AHEAD_ENTRIES, FOLDED_BYTES, HELD_ENTRIES, SHARED_BYTES
from fleet.proxy.head import LARGEST, Heads
from fleet.proxy.http.client import Client
from fleet.proxy.pricing import Prices, Source
from fleet.proxy.wire import Fault, Outgoing, Request
from tests.proxy.byte_provider import Passage, on_the_wire
from tests.proxy.http.client_fakes import CHUNKED, Taker, request, send, upstream
from tests.proxy.http.engine_fakes import Wire
from tests.proxy.outlets import CLOSE, LAST, OPEN, PING, START, STOP, Provider, word
from tests.proxy.running import running
from tests.proxy.trips import trip

WITH_KEY = '[proxy.upstreams.{kind}]\nkind = "{kind}"\nurl = "URL"\nkeys = "THE_KEY"\n'
BODY = b'{"model":"demo"}'
PLACES = {"anthropic": "/v1/messages", "gemini": "/v1beta/models/demo:generateContent"}


# -- agents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLACES)
def test_a_login_in_the_query_stays_here_when_the_fleet_pays(tmp_path: Path, kind: str) -> None:
    async def scenario(passage: Passage) -> None:
        token = passage.proxy.token
        for query in ("key=login", f"key=login&key={token}", f"key={token}&key=login"):
            answer = await passage.asker.ask(f"/a/{token}{PLACES[kind]}?a=b&{query}&c", BODY)
            assert answer.status == 200
            came = passage.provider.last
            assert came.line == f"POST {PLACES[kind]}?a=b&c HTTP/1.1"
            assert b"login" not in came.raw

    toml = WITH_KEY.format(kind=kind).replace("URL", "{url}")
    on_the_wire(tmp_path, scenario, toml, {"THE_KEY": "canary"})


def test_the_token_never_leaves_beside_a_login_in_the_query(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        token = passage.proxy.token
        await passage.ask(f"/v1/messages?key=login&key={token}", BODY)
        assert token.encode() not in passage.provider.last.raw

    on_the_wire(tmp_path, scenario)


def test_an_upstream_cannot_say_what_became_of_a_request(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        passage.provider.answers("application/json", b"{}", more=b"X-Fleet-Dedup: replayed\r\n")
        answer = await passage.ask("/v1/messages", BODY)
        assert answer.all("x-fleet-dedup") == [b"leader"]

    on_the_wire(tmp_path, scenario)


def test_references_to_different_items_are_different_requests() -> None:
    """An item with an id and nothing else stands for what the provider has under that id."""
    seen = Fingerprints()

    def digest(item: str) -> bytes:
        body = f'{{"model":"m","store":false,"input":[{{"role":"user","content":"x"}},{item}]}}'
        return seen.look(Responses(), "/v1/responses", "", body.encode()).digest

    assert digest('{"id":"msg_1"}') != digest('{"id":"msg_2"}')
    assert digest('{"id":"msg_1","type":null}') != digest('{"id":"msg_2","type":null}')
    for more in ('"summary":[]', '"summary":[],"encrypted_content":null'):
        thought = '{{"type":"reasoning","id":"{}",' + more + "}}"
        assert digest(thought.format("rs_1")) != digest(thought.format("rs_2"))
    said = '{{"id":"{}","role":"user","content":"y"}}'
    assert digest(said.format("msg_1")) == digest(said.format("msg_2"))


@pytest.mark.parametrize("dialect", [Anthropic(), Chat(), Responses()])
def test_a_name_of_megabytes_is_not_remembered(dialect: Dialect) -> None:
    for size in (1 << 20, 9 << 20):  # one that may share its answer, one that is too large
        body = b'{"model":"%b"}' % (b"m" * size)
        seen = Fingerprints().look(dialect, "/v1/x", "", body)
        assert seen.asked.model == "m" * LONGEST_MODEL


def test_models_with_a_long_beginning_in_common_are_told_apart() -> None:
    first, second = (
        Fingerprints().look(
            Chat(), "/v1/chat/completions", "", b'{"model":"%b%b"}' % (b"m" * 300, end)
        )
        for end in (b"1", b"2")
    )
    assert first.digest != second.digest


def test_a_body_of_a_million_members_is_not_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("each member was looked at")

    monkeypatch.setattr("fleet.proxy.digest._parts", refuse)
    pairs = [b'"%d":1' % number for number in range(300)]
    one, other = (
        Fingerprints().look(Chat(), "/v1/chat/completions", "", b"{%b}" % b",".join(order))
        for order in (pairs, pairs[::-1])
    )
    assert one.digest != other.digest  # too narrow, never too wide


def test_a_head_of_many_bytes_is_not_remembered() -> None:
    heads = Heads()
    for size in (0, LARGEST):
        came = Request("POST", "/v1/messages", ((b"host", b"x"), (b"a", b"b" * size)), b"{}")
        assert (heads.read(came) is heads.read(came)) == (not size)


def test_a_model_cannot_write_lines_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def nothing(_: bytes) -> bytes:
        return b'{"price":null}'

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            Prices(nothing, tasks=tasks).quote(Source("anthropic"), "x\n12:00 all is well\x1b[2J")

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert len(caplog.messages) == 1
    assert caplog.messages[0].isprintable()


# -- upstreams ------------------------------------------------------------------------------------


def test_one_body_is_made_of_a_stream_of_many_events() -> None:
    t = trip()
    _, outlet = t.board(stream=False)
    t.sent.stream(START, OPEN)
    for _ in range(2 * AHEAD_ENTRIES):
        t.flight.data(word("a"))
        assert not t.sent.paused  # nobody would ever resume it
    for event in (CLOSE, LAST, STOP):
        t.flight.data(event)
    t.flight.end()
    assert outlet.status == 200
    assert json.loads(outlet.body)["content"][0]["text"] == "a" * 2 * AHEAD_ENTRIES


def test_a_slow_reader_counts_beside_one_who_waits_for_the_whole() -> None:
    t = trip()
    t.board("json", stream=False)
    _, slow = t.board("slow")
    t.sent.stream(START, OPEN)
    slow.writable = False
    for _ in range(AHEAD_ENTRIES + 5):
        t.flight.data(word("a"))
    assert t.sent.paused
    slow.make_room()
    assert not t.sent.paused


def test_a_stream_without_end_is_not_gathered_for_who_wants_one_body() -> None:
    t = trip()
    _, outlet = t.board(stream=False)
    t.sent.stream(START, OPEN)
    large = word("a" * (1 << 20))
    for _ in range((FOLDED_BYTES >> 20) + 1):
        t.flight.data(large)
    assert t.sent.cancelled
    assert outlet.status == 502
    assert t.flight.ended is Ended.CUT


@pytest.mark.parametrize("ping", [PING, b": %b\n\n" % (b"x" * (1 << 16))])
def test_pings_without_end_are_not_held_back(ping: bytes) -> None:
    t = trip()
    _, outlet = t.board()
    t.sent.stream(START)
    most = min(HELD_ENTRIES, SHARED_BYTES // len(ping))
    for _ in range(most + 1):
        t.flight.data(ping)
    assert outlet.status == 200
    assert len(outlet.body) == t.flight.bytes_in
    outlet.writable = False
    for _ in range(AHEAD_ENTRIES + 2):
        t.flight.data(ping)
    assert t.sent.paused


@pytest.mark.parametrize("encoded", [False, True])
def test_of_a_long_answer_nobody_waits_for_nothing_is_kept(encoded: bool) -> None:
    t = trip()
    subscriber, _ = t.board()
    more = ((b"content-encoding", b"gzip"),) if encoded else ()
    t.sent.sink.head(200, ((b"content-type", b"text/event-stream"), *more))
    t.flight.leave(subscriber)
    for _ in range((SHARED_BYTES >> 20) + 2):
        t.flight.data(word("a" * (1 << 20)))
    assert t.sent.cancelled or sum(map(len, t.flight.log)) < 3 << 20


@pytest.mark.parametrize("start", [b"2\r\n{}\r\n0\r\nx: ", b"2\r\n{}\r\n2;"])
def test_a_trailer_or_extension_without_end_ends_the_call(start: bytes) -> None:
    async def behave(wire: Wire, _number: int) -> None:
        await request(wire)
        await wire.send(CHUNKED + start)
        for _ in range(40):
            await wire.send(b"x" * 8192)
            await asyncio.sleep(0.001)

    async def scenario() -> None:
        async with upstream(behave) as port, Client() as client:
            taker = Taker()
            send(client, port, taker)
            failure = (await taker.done()).failure
            assert failure is not None
            assert failure.fault is Fault.PROTOCOL
            assert "framing" in failure.detail

    asyncio.run(scenario())


def test_a_body_that_comes_apart_from_its_framing_may_be_long() -> None:
    async def behave(wire: Wire, _number: int) -> None:
        await request(wire)
        await wire.send(CHUNKED)
        for _ in range(400):
            await wire.send(b"1;" + b"x" * 200)
            await asyncio.sleep(0)
            await wire.send(b"\r\na\r\n")
            await asyncio.sleep(0)
        await wire.send(b"0\r\n\r\n")

    async def scenario() -> None:
        async with upstream(behave) as port, Client() as client:
            taker = Taker()
            send(client, port, taker)
            await taker.done()
            assert b"".join(taker.pieces) == b"a" * 400

    asyncio.run(scenario())


def test_of_a_list_of_models_without_end_little_is_read() -> None:
    async def scenario() -> None:
        provider = Provider()
        asking = asyncio.ensure_future(fetch(provider, Outgoing("GET", "/v1/models", ())))
        await asyncio.sleep(0)
        sent = provider.calls[0]
        sent.sink.head(200, ())
        for _ in range(MOST_BYTES // (1 << 20) + 1):
            sent.sink.data(b"x" * (1 << 20))
        assert await asyncio.wait_for(asking, 1) is None
        assert sent.cancelled

    asyncio.run(scenario())


def test_a_llama_that_never_says_its_slots_does_not_keep_us(tmp_path: Path) -> None:
    async def behave(wire: Wire, _number: int) -> None:
        head, _ = await request(wire)
        if head.startswith(b"GET /props "):
            await asyncio.sleep(60)
        await wire.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\n{}")

    async def scenario() -> None:
        async with upstream(behave) as port:
            toml = f'[proxy.upstreams.l]\nkind = "{UpstreamKind.LLAMA_CPP}"\n'
            toml += f'url = "http://127.0.0.1:{port}"\n'
            async with running(tmp_path, toml) as proxy, httpx.AsyncClient() as client:
                answer = await client.post(f"{proxy.url}/v1/messages", content=BODY)
                assert answer.status_code == 400
                closing = time.monotonic()
            assert time.monotonic() - closing < 3

    asyncio.run(scenario())
