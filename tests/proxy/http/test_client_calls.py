"""Pausing and cancelling a call, and sinks that fail."""

from __future__ import annotations

import asyncio

import pytest

from fleet.proxy.http.client import Client, Timeouts
from fleet.proxy.wire import Headers, Sending
from tests.proxy.http.client_fakes import (
    CHUNKED,
    LIMITS,
    OK,
    Taker,
    always,
    ask,
    request,
    send,
    upstream,
)
from tests.proxy.http.engine_fakes import Run, Wire, both, until

# -- pausing ------------------------------------------------------------------------------------


@both
def test_a_paused_call_takes_nothing_in_and_is_not_timed(run: Run) -> None:
    async def main() -> None:
        size = 30_000_000
        sent = asyncio.Event()

        async def behave(wire: Wire, _number: int) -> None:
            while True:
                await request(wire)
                await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
                await wire.send(b"x" * size)
                sent.set()

        class Slow(Taker):
            sending: Sending

            def head(self, status: int, headers: Headers) -> None:
                super().head(status, headers)
                self.sending.pause()

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            for _ in range(2):
                sent.clear()
                taker = Slow()
                taker.sending = send(client, port, taker, timeouts=Timeouts(idle=0.05))
                await until(lambda taker=taker: taker.status)  # type: ignore[misc]
                await asyncio.sleep(0.15)
                got = len(taker.body)
                assert got < size and not sent.is_set() and taker.failure is None
                await asyncio.sleep(0.05)
                assert len(taker.body) == got
                taker.sending.resume()
                assert len((await taker.done()).body) == size
            assert client.connections == 1

    run(main())


@both
def test_a_call_may_be_paused_before_it_has_a_connection(run: Run) -> None:
    async def main() -> None:
        async with upstream(always(OK)) as port, Client(limits=LIMITS) as client:
            taker = Taker()
            sending = send(client, port, taker)
            sending.pause()
            await until(lambda: client.connections)
            await asyncio.sleep(0.05)
            assert taker.told == []
            sending.resume()
            assert (await taker.done()).body == b"ok"
            assert (await ask(client, port)).body == b"ok"
            assert client.connections == 1

    run(main())


@both
def test_a_call_that_ends_paused_leaves_its_connection_reading(run: Run) -> None:
    async def main() -> None:
        class Pauser(Taker):
            sending: Sending

            def head(self, status: int, headers: Headers) -> None:
                super().head(status, headers)
                self.sending.pause()

        async with upstream(always(OK)) as port, Client(limits=LIMITS) as client:
            for _ in range(2):
                taker = Pauser()
                taker.sending = send(client, port, taker)
                assert (await taker.done()).body == b"ok"
            assert client.connections == 1

    run(main())


# -- cancelling ---------------------------------------------------------------------------------


@both
def test_a_cancelled_call_says_no_more_whatever_phase_it_is_in(run: Run) -> None:
    async def main() -> None:
        gone = 0

        async def behave(wire: Wire, number: int) -> None:
            nonlocal gone
            await request(wire)
            if number > 1:
                await wire.send(CHUNKED + b"2\r\nok\r\n")
            await wire.rest()
            gone += 1

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            connecting = Taker()
            send(client, port, connecting).cancel()
            assert client.waiting == 0
            await until(lambda: client.connections == 1)  # made all the same, for whoever is next

            waiting, answering = Taker(), Taker()
            sending = send(client, port, waiting)
            await asyncio.sleep(0.02)
            sending.cancel()
            await until(lambda: gone == 1 and not client.connections)

            sending = send(client, port, answering)
            await until(lambda: answering.body)
            sending.cancel()
            sending.cancel()
            sending.pause()
            sending.resume()
            await until(lambda: gone == 2 and not client.connections)
            assert (connecting.told, waiting.told) == ([], [])
            assert answering.told == ["head", "data"]

    run(main())


@both
def test_a_call_that_is_over_cannot_harm_the_next_on_its_connection(run: Run) -> None:
    async def main() -> None:
        async with upstream(always(OK)) as port, Client(limits=LIMITS) as client:
            first, second = Taker(), Taker()
            sending = send(client, port, first)
            await first.done()
            send(client, port, second)
            sending.pause()
            sending.cancel()
            assert (await second.done()).body == b"ok"
            assert client.connections == 1

    run(main())


@both
def test_a_sink_may_cancel_from_within(run: Run) -> None:
    async def main() -> None:
        class Quitter(Taker):
            sending: Sending
            at = "head"

            def head(self, status: int, headers: Headers) -> None:
                super().head(status, headers)
                if self.at == "head":
                    self.sending.cancel()

            def data(self, data: bytes) -> None:
                super().data(data)
                self.sending.cancel()

        async with upstream(always(OK)) as port, Client(limits=LIMITS) as client:
            for at, told in (("head", ["head"]), ("data", ["head", "data"])):
                taker = Quitter()
                taker.at = at
                taker.sending = send(client, port, taker)
                await until(lambda taker=taker: taker.told)  # type: ignore[misc]
                await until(lambda: not client.connections)
                assert taker.told == told
            assert (await ask(client, port)).body == b"ok"

    run(main())


# -- sinks that fail ----------------------------------------------------------------------------


@both
@pytest.mark.parametrize("where", ["head", "data", "end", "failed"])
def test_a_sink_that_raises_is_logged_and_harms_no_other_call(
    run: Run, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        class Faulty(Taker):
            def head(self, status: int, headers: Headers) -> None:
                super().head(status, headers)
                assert where != "head"

            def data(self, data: bytes) -> None:
                super().data(data)
                assert where not in ("data", "failed")

            def end(self) -> None:
                super().end()
                assert where != "end"

            def failed(self, failure: object) -> None:
                self.told.append("failed")
                self.over.set()
                assert where != "failed"

        answer = b"nonsense" if where == "failed" else OK
        async with upstream(always(answer)) as port, Client(limits=LIMITS) as client:
            for _ in range(2):
                taker = Faulty()
                send(client, port, taker)
                await taker.done()
                assert taker.told[-1] == ("end" if where == "end" else "failed")
            await until(lambda: client.connections == (where == "end"))

    run(main())
    assert "the reader of an answer failed" in caplog.text
