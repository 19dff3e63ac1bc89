"""Clients that are slow, and clients that go."""

from __future__ import annotations

import asyncio
from functools import partial

from fleet.proxy.http.server import Exchange, Limits
from fleet.proxy.wire import Reply
from tests.proxy.http.engine_fakes import Run, both, serving, silent, until, wired

GET = b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def chatter(exchange: Exchange) -> None:
    """Writes for as long as it may."""
    exchange.start(200, (), None)

    def go_on() -> None:
        while exchange.writable and not exchange.gone:
            exchange.write(b"x" * 8192)

    exchange.on_writable = go_on
    go_on()


# -- slow clients -------------------------------------------------------------------------------


@both
def test_a_head_that_trickles_in_is_given_up(run: Run) -> None:
    async def main() -> None:
        async with serving(limits=Limits(tick_s=0.02, head_s=0.2)) as door:
            async with wired(door.port) as wire:
                began = asyncio.get_running_loop().time()
                for byte in GET[:12]:
                    await wire.send(bytes([byte]))
                    await asyncio.sleep(0.025)  # each byte is in time, the whole is not
                assert (await wire.rest()).startswith(b"HTTP/1.1 408 ")
                assert asyncio.get_running_loop().time() - began < 1.5
            await until(lambda: door.server.connections == 0)

    run(main())


@both
def test_every_head_has_its_own_time(run: Run) -> None:
    async def main() -> None:
        async with (
            serving(limits=Limits(tick_s=0.01, head_s=0.25)) as door,
            wired(door.port) as wire,
        ):
            for _ in range(4):
                await wire.send(GET[:20])
                await asyncio.sleep(0.1)
                await wire.send(GET[20:])
                assert (await wire.answer())[0] == 200

    run(main())


@both
def test_a_body_that_stops_is_given_up_and_one_that_crawls_too(run: Run) -> None:
    async def main() -> None:
        idle = Limits(tick_s=0.02, body_idle_s=0.1)
        crawl = Limits(tick_s=0.02, body_grace_s=0.1, body_rate=100_000)
        for limits in (idle, crawl):
            async with serving(limits=limits) as door, wired(door.port) as wire:
                await wire.send(POST + b"Content-Length: 1000000\r\n\r\n")
                for _ in range(20 if limits is crawl else 1):
                    await wire.send(b"x")
                    await asyncio.sleep(0.02)
                assert (await wire.rest()).startswith(b"HTTP/1.1 408 ")
                assert door.exchanges == []
                assert door.server.held == 0

    run(main())


@both
def test_an_idle_connection_is_closed_without_a_word(run: Run) -> None:
    async def main() -> None:
        async with (
            serving(limits=Limits(tick_s=0.02, keep_alive_s=0.1)) as door,
            wired(door.port) as fresh,
            wired(door.port) as used,
        ):
            await used.send(GET)
            await used.answer()
            assert await used.rest() == b""
            assert await fresh.rest() == b""

    run(main())


@both
def test_an_answer_takes_as_long_as_it_takes(run: Run) -> None:
    async def main() -> None:
        limits = Limits(
            tick_s=0.01, keep_alive_s=0.03, head_s=0.03, body_idle_s=0.03, write_stall_s=0.03
        )
        async with serving(silent, limits) as door, wired(door.port) as wire:
            await wire.send(GET)
            await asyncio.sleep(0.2)
            door.exchanges[0].reply(Reply(200, (), b"late"))
            assert await wire.answer() == (200, b"late")

    run(main())


@both
def test_a_client_that_takes_nothing_is_cut(run: Run) -> None:
    async def main() -> None:
        gone: list[bool] = []
        async with (
            serving(chatter, Limits(tick_s=0.02, write_stall_s=0.2)) as door,
            wired(door.port) as wire,
        ):
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await wire.send(GET)
            await until(lambda: door.exchanges and not door.exchanges[0].writable)
            door.exchanges[0].on_gone = lambda: gone.append(True)
            await until(lambda: gone)
            assert door.exchanges[0].gone

    run(main())


@both
def test_writing_goes_on_when_the_client_has_caught_up(run: Run) -> None:
    async def main() -> None:
        async with serving(chatter) as door, wired(door.port) as wire:
            await wire.send(GET)
            await until(lambda: door.exchanges and not door.exchanges[0].writable)
            assert len(await wire.exactly(20_000_000)) == 20_000_000

    run(main())


# -- clients that go ----------------------------------------------------------------------------


@both
def test_a_client_that_goes_before_or_within_its_answer_is_noticed(run: Run) -> None:
    async def main() -> None:
        async with serving(silent) as door:
            for started in (False, True):
                gone: list[bool] = []
                async with wired(door.port) as wire:
                    await wire.send(POST + b"Content-Length: 3\r\n\r\nabc")
                    await until(lambda: door.exchanges)
                    exchange = door.exchanges.pop()
                    exchange.on_gone = partial(gone.append, True)
                    if started:
                        exchange.start(200, (), None)
                        exchange.write(b"x")
                        await wire.head()
                    assert door.server.held == 3
                await until(partial(bool, gone))
                assert exchange.gone and door.server.held == 0
                exchange.write(b"y")
                exchange.end()
                exchange.reply(Reply(200, (), b""))
                assert gone == [True]

    run(main())


@both
def test_a_client_that_goes_within_its_body_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        async with serving() as door:
            async with wired(door.port) as wire:
                await wire.send(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000)
                await until(lambda: door.server.held == 50_000)
            await until(lambda: not door.server.connections)
            assert door.server.held == 0 and not door.exchanges

    run(main())
