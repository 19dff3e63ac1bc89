"""The client against servers that do as they please."""

from __future__ import annotations

import asyncio
import gc

import pytest

from fleet.proxy.http.call import Call
from fleet.proxy.http.client import Client
from fleet.proxy.wire import Failure, Fault
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

# -- answers that cannot be trusted -------------------------------------------------------------

BAD = {
    "not HTTP": b"220 smtp ready\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "length and chunked": CHUNKED[:-2] + b"content-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "lengths joined": b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
    "length with a plus": b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    "another coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": CHUNKED[:-2] + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 2\r\n\r\nok",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
    "NUL": b"HTTP/1.1 200 OK\r\na: \0\r\ncontent-length: 2\r\n\r\nok",
    "bad chunk size": CHUNKED + b"zz\r\nok\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"1\r\nok\r\n0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\nok",
    "status 700": b"HTTP/1.1 700 OK\r\ncontent-length: 2\r\n\r\nok",
    "switching": b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "more than the answer": OK + b"garbage",
    "two answers": OK + OK,
    "endless head": b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000,
}


@both
@pytest.mark.parametrize("name", BAD)
def test_http_that_cannot_be_trusted_is_a_failure_and_its_connection_not_kept(
    name: str, run: Run
) -> None:
    async def main() -> None:
        async with upstream(always(BAD[name])) as port, Client(limits=LIMITS) as client:
            taker = await ask(client, port)
            assert taker.failure is not None
            assert (taker.failure.fault, taker.failure.answered) == (Fault.PROTOCOL, True)
            assert taker.told[-1] == "failed" and taker.told.count("failed") == 1
            await until(lambda: client.connections == 0)

    run(main())


@both
@pytest.mark.parametrize("name", ["not HTTP", "two lengths", "bad chunk size"])
def test_what_was_asked_of_it_is_let_go_at_once_without_the_collector(name: str, run: Run) -> None:
    async def main() -> None:
        async with upstream(always(BAD[name])) as port, Client(limits=LIMITS) as client:
            await ask(client, port)
            await until(lambda: client.connections == 0)
            assert not [found for found in gc.get_objects() if isinstance(found, Call)]

    gc.collect()
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


# -- connections that end -----------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("answer", "answered"),
    [
        (b"", False),
        (b"HTTP/1.1 2", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", True),
        (CHUNKED + b"2\r\nok\r\n", True),
    ],
)
def test_a_connection_that_ends_too_early_is_a_reset(
    run: Run, answer: bytes, answered: bool
) -> None:
    async def main() -> None:
        async with upstream(once(answer)) as port, Client(limits=LIMITS) as client:
            failure = (await ask(client, port)).failure
            assert failure is not None
            assert (failure.fault, failure.answered) == (Fault.RESET, answered)
            assert not failure.reused

    run(main())


@both
def test_a_connection_closed_while_it_was_kept_is_told_apart(run: Run) -> None:
    async def main() -> None:
        async def behave(wire: Wire, number: int) -> None:
            await request(wire)
            await wire.send(OK)
            if number == 1:
                await request(wire)  # takes the next one, and is gone

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            await ask(client, port)
            failure = (await ask(client, port)).failure
            assert failure is not None
            assert (failure.fault, failure.reused, failure.answered) == (Fault.RESET, True, False)
            assert (await ask(client, port)).body == b"ok"

    run(main())


@both
def test_a_connection_that_closes_while_idle_is_forgotten_at_once(run: Run) -> None:
    async def main() -> None:
        async with upstream(once(OK)) as port, Client(limits=LIMITS) as client:
            for _ in range(3):
                assert (await ask(client, port)).failure is None
                await until(lambda: client.connections == 0)

    run(main())


@both
def test_a_connection_that_says_close_or_something_unasked_is_not_used_again(run: Run) -> None:
    async def main() -> None:
        closing = OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

        async def behave(wire: Wire, number: int) -> None:
            await request(wire)
            if number == 1:
                await wire.send(closing)
                await wire.rest()
            else:
                await wire.send(OK)
                await asyncio.sleep(0.02)
                await wire.send(OK)  # nobody asked
                await wire.rest()

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            for _ in range(2):
                assert (await ask(client, port)).body == b"ok"
                await until(lambda: client.connections == 0)

    run(main())


@both
def test_nobody_there_is_a_failure_to_connect(run: Run) -> None:
    async def main() -> None:
        async with upstream(once(OK)) as port:
            pass
        async with Client(limits=LIMITS) as client:
            taker = Taker()
            send(client, port, taker)
            assert taker.told == []  # never from within
            failure = (await taker.done()).failure
            assert failure is not None and failure.fault is Fault.CONNECT
            assert failure.detail
            assert client.waiting == 0

    run(main())


@both
def test_a_closed_client_fails_what_it_has_and_what_it_gets(run: Run) -> None:
    async def main() -> None:
        live, late = Taker(), Taker()

        async def behave(wire: Wire, _number: int) -> None:
            await wire.rest()

        async with upstream(behave) as port:
            async with Client(limits=LIMITS) as client:
                send(client, port, live)
                await until(lambda: client.connections)
            send(client, port, late)
            for taker in (live, late):
                assert isinstance((await taker.done()).failure, Failure)

    run(main())
