"""What agents send is what providers get: bodies, targets and headers, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.store.traffic import latest_calls
from tests.proxy.byte_provider import Passage, on_the_wire
from tests.proxy.odd_answers import (
    JSON,
    WHOLE,
)
from tests.proxy.odd_bodies import AGENTS, ODD, PLACES, SIZES

USAGE = b'"stream_options":{"include_usage":true},'


@pytest.mark.parametrize(("target", "body"), AGENTS, ids=lambda one: getattr(one, "__name__", ""))
def test_what_agents_send_arrives_byte_for_byte(
    tmp_path: Path, target: str, body: Callable[[int], bytes]
) -> None:
    async def scenario(passage: Passage) -> None:
        for size in SIZES:
            sent = body(size)
            assert len(sent) > size - 500
            await passage.ask(target, sent)
            assert passage.provider.last.body == sent
            assert passage.provider.last.line == f"POST {target} HTTP/1.1"

    on_the_wire(tmp_path, scenario)


def test_bodies_nobody_would_write_arrive_as_they_are_everywhere(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        for place in PLACES:
            for what, sent in ODD.items():
                answer = await passage.ask(place, sent)
                assert answer.status == 200, what
                assert passage.provider.last.body == sent, what
        assert len(passage.provider.came) == len(PLACES) * len(ODD)

    on_the_wire(tmp_path, scenario)


def test_a_body_in_chunks_arrives_in_one_piece(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        target, body = AGENTS[0]
        sent = body(5_000)
        for step in (1, 7, 1000):
            parts = tuple(sent[at : at + step] for at in range(0, len(sent), step))
            await passage.ask(target, parts)
            assert passage.provider.last.body == sent
            assert passage.provider.last.all("content-length") == [b"%d" % len(sent)]

    on_the_wire(tmp_path, scenario)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (b'{"model":"m","stream":true}', b"{" + USAGE + b'"model":"m","stream":true}'),
        (b' {\n "stream" :true , "n":1.0}\n', b" {" + USAGE + b'\n "stream" :true , "n":1.0}\n'),
        (
            b'{"stream_options" : { } ,"stream":true}',
            b'{"stream_options" : {"include_usage":true} ,"stream":true}',
        ),
        (
            b'{"stream":true,"stream_options":{"include_usage": false, "x": 1}}',
            b'{"stream":true,"stream_options":{"include_usage":true,"x":1}}',
        ),
        (b'{"stream":true,"stream_options":{ "include_usage" : true}}', None),
        (b'{"stream":true,"stream_options":[1.0]}', None),
        (b'{"stream":false,"model":"m"}', None),
        (b'{"stream":1,"model":"m"}', None),
        (b'{"model":"m","x":{"stream":true}}', None),
        (b'{"stream":true,"a":"\\ud800"}', None),
    ],
)
def test_the_one_change_is_that_a_chat_stream_is_asked_for_its_usage(
    tmp_path: Path, sent: bytes, arrives: bytes | None
) -> None:
    async def scenario(passage: Passage) -> None:
        await passage.ask("/v1/chat/completions", sent)
        assert passage.provider.last.body == (sent if arrives is None else arrives)
        for place in ("/v1/messages", "/v1/responses", "/v1/embeddings"):
            await passage.ask(place, sent)
            assert passage.provider.last.body == sent

    on_the_wire(tmp_path, scenario)


TWO = """
[proxy.upstreams.one]
kind = "openai"
url = "{url}/one"
models = ["gpt-*"]
[proxy.upstreams.two]
kind = "openai"
url = "{url}/two"
models = ["local"]
"""


@pytest.mark.parametrize("text", [rb"cut off: \ud83d", rb"\udE00 \\ud83d\u00e9", rb"\\\uD83D."])
def test_half_a_surrogate_pair_hides_nothing_of_a_body(tmp_path: Path, text: bytes) -> None:
    """Clients write one where they cut a text within an emoji."""

    async def scenario(passage: Passage) -> None:
        sent = b'{"messages":["%b"],"model":"local","n":1.0}' % text
        other = sent.replace(b"1.0", b"1")
        passage.provider.answers(JSON, WHOLE["/v1/chat/completions"])
        url = f"/a/{passage.proxy.new_token()}/v1/chat/completions"
        told = [
            await passage.ask("/v1/chat/completions", sent),
            await passage.asker.ask(url, sent),
            await passage.asker.ask(url, other),
        ]
        came = passage.provider.came
        assert [answer.all("x-fleet-dedup")[0] for answer in told] == [
            b"leader",
            b"replayed",
            b"leader",
        ]
        assert [one.body for one in came] == [sent, other]
        assert {one.line for one in came} == {"POST /two/v1/chat/completions HTTP/1.1"}
        db = passage.proxy.calls_db()
        assert {call.model for call in latest_calls(db, 10)} == {"local"}
        db.close()

    on_the_wire(tmp_path, scenario, TWO)
