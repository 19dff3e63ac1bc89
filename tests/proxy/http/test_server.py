"""The server as its clients see it."""

from __future__ import annotations

import asyncio

import pytest

from fleet.proxy.http.server import Exchange
from fleet.proxy.wire import Reply
from tests.proxy.http.engine_fakes import (
    Run,
    both,
    on_uvloop,
    serving,
    silent,
    until,
    wired,
)

GET = b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def post(body: bytes, *lines: bytes) -> bytes:
    head = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(line + b"\r\n" for line in lines)
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@both
def test_a_request_arrives_whole_with_its_names_in_lower_case(run: Run) -> None:
    async def main() -> None:
        async with serving() as door, wired(door.port) as wire:
            sent = (b"X-Api-Key:  Secret ", b"Anthropic-Beta: a", b"anthropic-beta: b")
            await wire.send(post(b"hello", *sent))
            assert await wire.answer() == (200, b"hello")
            request = door.exchanges[0].request
            assert (request.method, request.target, request.body) == ("POST", "/a", b"hello")
            assert request.headers == (
                (b"host", b"127.0.0.1"),
                (b"x-api-key", b"Secret"),
                (b"anthropic-beta", b"a"),
                (b"anthropic-beta", b"b"),
                (b"content-length", b"5"),
            )

    run(main())


@both
def test_a_connection_serves_one_request_after_the_other(run: Run) -> None:
    async def main() -> None:
        async with serving() as door, wired(door.port) as wire:
            for number in range(20):
                body = b"%d" % number * 100
                await wire.send(post(body))
                assert await wire.answer() == (200, body)
            assert door.server.connections == 1
            assert door.server.held == 0

    run(main())


@both
def test_a_request_may_come_in_any_pieces(run: Run) -> None:
    async def main() -> None:
        whole = post(b"hello") + GET
        async with serving() as door, wired(door.port) as wire:
            for at in range(1, len(whole)):
                await wire.send(whole[:at])
                await asyncio.sleep(0)
                await wire.send(whole[at:])
                assert await wire.answer() == (200, b"hello")
                assert await wire.answer() == (200, b"")
            assert door.targets == ["/a", "/a?b=c"] * (len(whole) - 1)

    run(main())


def test_a_large_chunked_body_arrives() -> None:
    async def main() -> None:
        chunks = [bytes([n % 251]) * (n * 37 % 5000 + 1) for n in range(500)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        head = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with serving() as door, wired(door.port) as wire:
            asker = asyncio.ensure_future(wire.send(head + framed + b"0\r\n\r\n"))
            assert await wire.answer() == (200, b"".join(chunks))
            await asker
            assert door.server.held == 0

    on_uvloop(main())


# -- answers ------------------------------------------------------------------------------------


@both
def test_an_answer_without_a_length_goes_in_chunks_as_it_is_written(run: Run) -> None:
    async def main() -> None:
        async with serving(silent) as door, wired(door.port) as wire:
            await wire.send(GET)
            await until(lambda: door.exchanges)
            exchange = door.exchanges[0]
            exchange.start(200, ((b"content-type", b"text/event-stream"),), None)
            assert b"transfer-encoding: chunked" in await wire.head()
            for event in (b"data: 1\n\n", b"x" * 20_000):
                exchange.write(event)
                framed = b"%x\r\n%b\r\n" % (len(event), event)
                assert await wire.exactly(len(framed)) == framed
            exchange.write(b"")  # would be the end
            exchange.end()
            assert await wire.exactly(5) == b"0\r\n\r\n"
            assert exchange.is_over
            await wire.send(GET)
            await until(lambda: len(door.exchanges) == 2)

    run(main())


@both
def test_an_answer_of_a_given_length(run: Run) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.start(200, (), 6)
        exchange.write(b"abc")
        exchange.write(b"def")
        exchange.end()

    async def main() -> None:
        async with serving(answer) as door, wired(door.port) as wire:
            for _ in range(2):
                await wire.send(GET)
                assert await wire.answer() == (200, b"abcdef")

    run(main())


@both
@pytest.mark.parametrize("pieces", [[b"abc"], [b"abc", b"defg"], []])
def test_an_answer_that_is_not_as_long_as_it_said_is_cut(run: Run, pieces: list[bytes]) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.start(200, (), 6)
        for piece in pieces:
            exchange.write(piece)
        exchange.end()

    async def main() -> None:
        async with serving(answer) as door, wired(door.port) as wire:
            await wire.send(GET + GET)
            told = await wire.rest()
            assert len(told.partition(b"\r\n\r\n")[2]) < 6
            assert len(door.exchanges) == 1

    run(main())


@both
def test_what_has_no_body_gets_none(run: Run) -> None:
    def answer(exchange: Exchange) -> None:
        request = exchange.request
        status = int(request.header(b"x-status"))
        if request.header(b"x-way") == b"reply":
            exchange.reply(Reply(status, (), b"body"))
        else:
            exchange.start(status, (), None)
            exchange.write(b"body")
            exchange.end()

    async def main() -> None:
        async with serving(answer) as door, wired(door.port) as wire:
            for verb, status in ((b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")):
                for way in (b"reply", b"start"):
                    line = b"%b / HTTP/1.1\r\nHost: localhost\r\n" % verb
                    await wire.send(line + b"X-Way: %b\r\nX-Status: %b\r\n\r\n" % (way, status))
                    head = await wire.head()
                    assert head.startswith(b"HTTP/1.1 " + status)
                    assert (b"content-length: 4" in head) == (verb == b"HEAD" and way == b"reply")
            await wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Way: reply\r\n")
            await wire.send(b"X-Status: 200\r\nConnection: close\r\n\r\n")
            assert (await wire.rest()).endswith(b"connection: close\r\n\r\nbody")

    run(main())


@both
def test_framing_in_the_headers_of_an_answer_is_dropped_and_line_ends_are_no_way_in(
    run: Run,
) -> None:
    bad: list[Exception] = []

    def answer(exchange: Exchange) -> None:
        try:
            exchange.reply(Reply(200, ((b"a", b"b\r\nset-cookie: c"),), b""))
        except ValueError as error:
            bad.append(error)
        headers = ((b"content-length", b"99"), (b"connection", b"close"), (b"a", b"b"))
        exchange.reply(Reply(200, headers, b"x"))

    async def main() -> None:
        async with serving(answer) as door, wired(door.port) as wire:
            for _ in range(2):
                await wire.send(GET)
                head = await wire.head()
                assert head == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 1\r\n\r\n"
                assert await wire.exactly(1) == b"x"
            assert len(bad) == 2

    run(main())


@both
def test_http_1_0_gets_no_chunks_and_its_connection_closes(run: Run) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.start(200, (), None)
        exchange.write(b"abc")
        exchange.end()

    async def main() -> None:
        async with serving(answer) as door, wired(door.port) as wire:
            await wire.send(b"GET / HTTP/1.0\r\n\r\n")
            head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
            assert body == b"abc"
            assert b"chunked" not in head and b"connection: close" in head

    run(main())


@both
def test_an_aborted_answer_is_seen_as_cut(run: Run) -> None:
    async def main() -> None:
        async with serving(silent) as door:
            for old in (False, True):
                async with wired(door.port) as wire:
                    await wire.send(b"GET / HTTP/1.0\r\n\r\n" if old else GET)
                    await until(lambda: door.exchanges)
                    exchange = door.exchanges.pop()
                    exchange.start(200, (), None)
                    exchange.write(b"abc")
                    await wire.head()
                    exchange.abort()
                    if old:
                        with pytest.raises(ConnectionResetError):
                            await wire.reader.readexactly(100)
                    else:
                        assert await wire.rest() == b"3\r\nabc\r\n"
                    exchange.write(b"more")  # nobody is there
                    exchange.end()

    run(main())


@both
def test_a_second_answer_within_the_first_cuts_it_and_one_after_it_does_nothing(run: Run) -> None:
    async def main() -> None:
        async with serving(silent) as door, wired(door.port) as wire:
            await wire.send(GET)
            await until(lambda: len(door.exchanges) == 1)
            first = door.exchanges[0]
            first.reply(Reply(200, (), b"a"))
            first.write(b"?")
            first.end()
            assert await wire.answer() == (200, b"a")
            await wire.send(GET)
            await until(lambda: len(door.exchanges) == 2)
            second = door.exchanges[1]
            second.start(200, (), None)
            second.reply(Reply(500, (), b"b"))
            assert b"0\r\n\r\n" not in await wire.rest()

    run(main())


@both
def test_a_failing_taker_of_requests_is_an_internal_error(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(_exchange: Exchange) -> None:
        raise KeyError("oh")

    async def main() -> None:
        async with serving(answer) as door, wired(door.port) as wire:
            for _ in range(2):
                await wire.send(GET)
                assert (await wire.answer())[0] == 500

    run(main())
    assert "could not be accepted" in caplog.text
