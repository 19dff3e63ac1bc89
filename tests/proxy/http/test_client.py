"""The client against servers that do as they should."""

from __future__ import annotations

import asyncio

import pytest

from fleet.core.errors import FleetError
from fleet.proxy.http.client import Client, Origin, Timeouts
from tests.proxy.http.client_fakes import (
    CHUNKED,
    LIMITS,
    OK,
    Taker,
    always,
    ask,
    once,
    request,
    send,
    upstream,
)
from tests.proxy.http.engine_fakes import Run, Wire, both, until

# -- requests -----------------------------------------------------------------------------------


@both
def test_what_is_sent_is_what_was_given_plus_host_and_length(run: Run) -> None:
    async def main() -> None:
        heads: list[bytes] = []

        async def behave(wire: Wire, _number: int) -> None:
            while True:
                heads.append((await request(wire))[0])
                await wire.send(OK)

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            given = (
                (b"host", b"elsewhere"),
                (b"content-length", b"99"),
                (b"transfer-encoding", b"chunked"),
                (b"connection", b"close"),
                (b"te", b"trailers"),
                (b"upgrade", b"h2c"),
                (b"expect", b"100-continue"),
                (b"x-api-key", b"k"),
            )
            for method, body in (("POST", b"{}"), ("POST", b""), ("GET", b"")):
                taker = Taker()
                send(client, port, taker, method=method, headers=given, body=body)
                await taker.done()
            host = b"host: 127.0.0.1:%d\r\nx-api-key: k\r\n" % port
            assert heads == [
                b"POST /v1/x?y HTTP/1.1\r\n" + host + b"content-length: 2\r\n\r\n",
                b"POST /v1/x?y HTTP/1.1\r\n" + host + b"content-length: 0\r\n\r\n",
                b"GET /v1/x?y HTTP/1.1\r\n" + host + b"\r\n",
            ]

    run(main())


@both
def test_nothing_gets_out_that_would_split_a_request(run: Run) -> None:
    async def main() -> None:
        async with Client(limits=LIMITS) as client:
            origin = Origin("http", "127.0.0.1", 1)
            for target, headers in (
                ("/a b", ()),
                ("/a\r\nx: y", ()),
                ("/ä", ()),
                ("/a", ((b"x", b"y\r\nz: 1"),)),
                ("/a", ((b"x\n", b"y"),)),
            ):
                with pytest.raises(ValueError):
                    client.send(origin, "GET", target, headers, b"", Taker(), Timeouts())
            assert client.connections == client.waiting == 0

    run(main())


@both
def test_a_body_of_32_mb_goes_out_whole(run: Run) -> None:
    async def main() -> None:
        body = bytes(range(256)) * (1 << 17)
        got: list[bytes] = []

        async def behave(wire: Wire, _number: int) -> None:
            got.append((await request(wire))[1])
            await wire.send(OK)

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            assert (await ask(client, port, body=body)).body == b"ok"
            assert got == [body]

    run(main())


def test_an_origin_is_read_from_a_url() -> None:
    origin, base = Origin.parse("https://Api.Example.com/v1/base/")
    assert (origin, base) == (Origin("https", "api.example.com", 443), "/v1/base")
    assert origin.authority == b"api.example.com"
    origin, base = Origin.parse("http://[::1]:8080")
    assert (origin.host, origin.authority, base) == ("::1", b"[::1]:8080", "")
    for bad in (
        "ftp://a",
        "a.example",
        "http://",
        "http://a:99999",
        "http://u:p@a",
        "http://a/?q",
        "http://a/#f",
        "http://a/b c",
    ):
        with pytest.raises(FleetError):
            Origin.parse(bad)


# -- answers ------------------------------------------------------------------------------------

ANSWERS = {
    "length": (OK, 200, b"ok"),
    "chunks": (CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\nX: trailer\r\n\r\n", 200, b"ok"),
    "no body": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
    "interim ones first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
        200,
        b"ok",
    ),
    "an error": (b"HTTP/1.1 529 \r\ncontent-length: 2\r\n\r\nno", 529, b"no"),
}


@both
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_told_however_it_is_cut_up_and_its_connection_kept(
    name: str, run: Run
) -> None:
    answer, status, body = ANSWERS[name]

    async def main() -> None:
        cut, connections = 0, 0

        async def behave(wire: Wire, number: int) -> None:
            nonlocal connections
            connections = number
            while True:
                await request(wire)
                await wire.send(answer[:cut])
                await asyncio.sleep(0.001)
                await wire.send(answer[cut:])

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            for cut in range(0, len(answer), 3):
                taker = await ask(client, port)
                assert (taker.status, taker.body, taker.failure) == (status, body, None), cut
                assert taker.told[0] == "head" and taker.told[-1] == "end"
                assert not any(key == b"link" for key, _ in taker.headers)
            assert (connections, client.connections) == (1, 1)

    run(main())


@both
def test_an_answer_may_last_until_its_connection_closes(run: Run) -> None:
    async def main() -> None:
        async with (
            upstream(once(b"HTTP/1.1 200 OK\r\nA: b \r\n\r\nall of it")) as port,
            Client(limits=LIMITS) as client,
        ):
            taker = await ask(client, port)
            assert (taker.body, taker.headers) == (b"all of it", ((b"a", b"b"),))
            await until(lambda: client.connections == 0)

    run(main())


@both
def test_an_answer_to_head_ends_with_its_head(run: Run) -> None:
    async def main() -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"
        async with upstream(always(head)) as port, Client(limits=LIMITS) as client:
            for _ in range(2):
                taker = Taker()
                send(client, port, taker, method="HEAD", body=b"")
                assert (await taker.done()).told == ["head", "end"]

    run(main())


@both
def test_what_one_read_brings_is_told_as_one_piece(run: Run) -> None:
    async def main() -> None:
        event = b"data: %d\n\n"
        chunks = b"".join(b"9\r\n" + event % n + b"\r\n" for n in range(9))
        async with (
            upstream(always(CHUNKED + chunks + b"0\r\n\r\n")) as port,
            Client(limits=LIMITS) as client,
        ):
            taker = await ask(client, port)
            assert taker.pieces == [b"".join(event % n for n in range(9))]

    run(main())
