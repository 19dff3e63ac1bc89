"""What providers answer is what agents get, byte for byte, however it was cut up on its way."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.proxy.byte_provider import Passage, on_the_wire
from tests.proxy.odd_answers import (
    ANTHROPIC,
    CHAT_AFTER,
    CHAT_BEFORE,
    CHAT_USAGE,
    ENDS,
    EVENTS,
    JSON,
    STREAMS,
    WHOLE,
    cut,
    request_of,
)


@pytest.mark.parametrize("ends", ENDS)
def test_a_stream_comes_back_byte_for_byte_however_it_was_cut(tmp_path: Path, ends: str) -> None:
    async def scenario(passage: Passage) -> None:
        for place, plain in STREAMS.items():
            stream = ENDS[ends](plain)
            for pieces in cut(stream, 1, 3, 61):
                passage.provider.answers(f"{EVENTS}; charset=utf-8", *pieces)
                answer = await passage.ask(place, request_of(place))
                assert answer.body == stream
                assert answer.all("content-type") == [b"text/event-stream; charset=utf-8"]
                assert answer.all("x-fleet-dedup") == [b"leader"]
            url = f"/a/{passage.proxy.new_token()}{place}"
            replayed = await passage.asker.ask(url, request_of(place))
            assert replayed.body == stream
            assert replayed.all("x-fleet-dedup") == [b"replayed"]

    on_the_wire(tmp_path, scenario)


def test_a_stream_may_be_cut_in_two_anywhere(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        place = "/v1/chat/completions"
        stream = ENDS["crlf"](STREAMS[place])
        for at in range(1, len(stream)):
            passage.provider.answers(EVENTS, stream[:at], stream[at:])
            assert (await passage.ask(place, request_of(place))).body == stream

    on_the_wire(tmp_path, scenario)


@pytest.mark.parametrize("framing", ["chunked", "closes"])
def test_the_framing_of_an_answer_is_not_part_of_it(tmp_path: Path, framing: str) -> None:
    async def scenario(passage: Passage) -> None:
        setattr(passage.provider, framing, True)
        for place, stream in STREAMS.items():
            passage.provider.answers(EVENTS, *cut(stream, 17)[1])
            assert (await passage.ask(place, request_of(place))).body == stream
        for place, whole in WHOLE.items():
            passage.provider.answers(JSON, *cut(whole, 17)[1])
            assert (await passage.ask(place, b'{"model":"demo"}')).body == whole

    on_the_wire(tmp_path, scenario)


@pytest.mark.parametrize("tail", [b"\n", b"\r\n", b": no more", b": no more\n", b"data"])
def test_what_comes_after_the_last_event_comes_too(tmp_path: Path, tail: bytes) -> None:
    async def scenario(passage: Passage) -> None:
        for place, stream in STREAMS.items():
            passage.provider.answers(EVENTS, stream, tail)
            answer = await passage.ask(place, request_of(place))
            assert answer.body == stream + tail
            other, third = (f"/a/{passage.proxy.new_token()}{place}" for _ in range(2))
            assert (await passage.asker.ask(other, request_of(place))).body == stream + tail
            third = third.replace(":streamGenerateContent?alt=sse", ":generateContent")
            if "gemini" in place:
                ask = request_of(place)  # it says so in its path only
            else:
                ask = request_of(place).replace(b"true", b"false", 1)
            folded = await passage.asker.ask(third, ask)
            assert folded.status == 200
            assert folded.all("x-fleet-dedup") == [b"replayed"]
            assert folded.body.startswith(b"{")

    on_the_wire(tmp_path, scenario)


def test_of_a_chat_stream_only_the_usage_nobody_asked_for_is_missing(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        for ends in ("lf", "crlf"):
            before, usage, after = map(ENDS[ends], (CHAT_BEFORE, CHAT_USAGE, CHAT_AFTER))
            for pieces in cut(before + usage + after, 1, 50):
                passage.provider.answers(EVENTS, *pieces)
                sent = b'{"model":"demo","stream":true}'
                answer = await passage.ask("/v1/chat/completions", sent)
                assert answer.body == before + after

    on_the_wire(tmp_path, scenario)


def test_whole_answers_come_back_byte_for_byte(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        for place, whole in WHOLE.items():
            for body in (whole, whole + b" " * 1_000_000, b"", b"no JSON \xff"):
                for asked in (b'{"model":"demo"}', request_of(place)):
                    passage.provider.answers("application/json; x=y", body)
                    number = b',"n":%d}' % len(passage.provider.came)  # else counts are replayed
                    answer = await passage.ask(place, asked[:-1] + number)
                    assert answer.status == 200
                    assert answer.all("content-type") == [b"application/json; x=y"]
                    assert answer.body == body

    on_the_wire(tmp_path, scenario)


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (
            "400 Bad Request",
            JSON,
            b'{ "error" : {"message":"prompt is too long: 2 > 1"} }',
        ),
        ("422 Unprocessable", JSON, b'{"type":"error","error":{"type":"rate_limit_error"}}\n'),
        ("529 Overloaded", JSON, b'{"type":"error","n":1.0}'),
        ("502 Bad Gateway", "text/html", b"<html>\r\n\r\n<h1>502</h1>\xff"),
        ("500 Oh", EVENTS, b"data: x\n\nrest"),
        ("404 Not Found", "text/plain", b""),
        ("418 Teapot", JSON, b"x" * 5_000),
    ],
)
def test_a_providers_error_comes_back_byte_for_byte(
    tmp_path: Path, status: str, kind: str, body: bytes
) -> None:
    async def scenario(passage: Passage) -> None:
        more = b"retry-after: 7\r\nRequest-Id: r1\r\nx-should-retry: false\r\n"
        for place in STREAMS:
            passage.provider.answers(kind, *cut(body, 9)[1], status=status, more=more)
            for asked in (request_of(place), b'{"model":"demo"}'):
                answer = await passage.ask(place, asked)
                assert (answer.status, answer.body) == (int(status[:3]), body)
                assert answer.all("content-type") == [kind.encode()]
                assert answer.all("retry-after") == [b"7"]
                assert answer.all("request-id") == [b"r1"]
                assert answer.all("x-should-retry") == [b"false"]

    on_the_wire(tmp_path, scenario)


def test_an_error_within_a_stream_comes_in_the_providers_words(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        start = ANTHROPIC[: ANTHROPIC.index(b"event: from_the_future")]
        error = b'event: error\ndata: {"type": "error", "error": {"type":"overloaded_error"}}\n\n'
        for pieces in cut(start + error, 1, 40):
            passage.provider.answers(EVENTS, *pieces)
            answer = await passage.ask("/v1/messages", request_of("/v1/messages"))
            if len(pieces) > 1:  # else it came before anything was said: then it is a status
                assert answer.body == start + error

    on_the_wire(tmp_path, scenario)


def test_what_is_compressed_against_our_wish_passes_as_it_is(tmp_path: Path) -> None:
    async def scenario(passage: Passage) -> None:
        for place, stream in STREAMS.items():
            for kind, plain in ((EVENTS, stream), (JSON, WHOLE["/v1/messages"])):
                packed = gzip.compress(plain, mtime=0)
                more = b"content-encoding: gzip\r\n"
                passage.provider.answers(kind, *cut(packed, 50)[1], more=more)
                answer = await passage.ask(place, request_of(place), "Accept-Encoding: gzip, br")
                assert passage.provider.last.all("accept-encoding") == [b"identity"]
                assert answer.body == packed
                assert answer.all("content-encoding") == [b"gzip"]

    on_the_wire(tmp_path, scenario)
