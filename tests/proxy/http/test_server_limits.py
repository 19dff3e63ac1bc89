"""What the server bears at once, and how it ends."""

from __future__ import annotations

import asyncio

from fleet.proxy.http.server import Limits, Refusal, Server
from fleet.proxy.wire import Reply
from tests.proxy.http.engine_fakes import Door, Run, both, serving, silent, until, wired

GET = b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\n"


# -- caps ---------------------------------------------------------------------------------------


@both
def test_a_body_of_32_mb_arrives_and_one_byte_more_is_refused(run: Run) -> None:
    async def main() -> None:
        body = bytes(range(256)) * (1 << 17)
        async with serving() as door:
            async with wired(door.port) as wire:
                asker = asyncio.ensure_future(
                    wire.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                )
                assert await wire.answer() == (200, body)
                await asker
            async with wired(door.port) as wire:
                await wire.send(b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                await wire.send(b"Content-Length: %d\r\n\r\n" % (len(body) + 1))
                assert (await wire.rest()).startswith(b"HTTP/1.1 413 ")
            assert len(door.exchanges) == 1

    run(main())


@both
def test_bodies_of_all_requests_together_are_bounded(run: Run) -> None:
    async def main() -> None:
        async with serving(silent, Limits(tick_s=0.02, bodies=10_000)) as door:
            async with wired(door.port) as first, wired(door.port) as second:
                await first.send(POST + b"Content-Length: 8000\r\n\r\n" + b"x" * 8000)
                await until(lambda: door.server.held == 8000)
                await second.send(POST + b"Content-Length: 3000\r\n\r\n")
                assert (await second.rest()).startswith(b"HTTP/1.1 503 ")
                door.exchanges[0].reply(Reply(200, (), b""))
                assert door.server.held == 0
            async with wired(door.port) as third:
                chunk = b"%x\r\n%b\r\n" % (4000, b"x" * 4000)
                await third.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3)
                assert (await third.rest()).startswith(b"HTTP/1.1 503 ")
            assert len(door.exchanges) == 1 and door.server.held == 0

    run(main())


@both
def test_connections_are_bounded_and_a_place_becomes_free_again(run: Run) -> None:
    async def main() -> None:
        async with serving(limits=Limits(tick_s=0.02, connections=2)) as door:
            async with wired(door.port) as first, wired(door.port) as second:
                for wire in (first, second):
                    await wire.send(GET)
                    assert (await wire.answer())[0] == 200
                async with wired(door.port) as third:
                    await third.send(GET)
                    assert (await third.rest()).startswith(b"HTTP/1.1 503 ")
            await until(lambda: door.server.connections == 0)
            async with wired(door.port) as wire:
                await wire.send(GET)
                assert (await wire.answer())[0] == 200

    run(main())


@both
def test_the_second_request_waits_for_the_first_and_what_is_sent_ahead_is_bounded(
    run: Run,
) -> None:
    async def main() -> None:
        async with (
            serving(silent, Limits(tick_s=0.02, pipelined=1000)) as door,
            wired(door.port) as wire,
        ):
            ahead = 200_000
            asker = asyncio.ensure_future(wire.send(GET * ahead))
            await until(lambda: door.exchanges)
            await asyncio.sleep(0.1)
            assert len(door.exchanges) == 1
            assert not asker.done()  # the server reads no further
            for number in range(50):
                await until(lambda: len(door.exchanges) > number)  # noqa: B023
                door.exchanges[number].reply(Reply(200, (), b"%d" % number))
                assert await wire.answer() == (200, b"%d" % number)
            asker.cancel()
            await asyncio.gather(asker, return_exceptions=True)

    run(main())


@both
def test_many_requests_at_once_answered_at_once_need_no_deep_stack(run: Run) -> None:
    async def main() -> None:
        async with serving() as door, wired(door.port) as wire:
            await wire.send(GET * 3000)
            for _ in range(3000):
                assert (await wire.answer())[0] == 200
            assert len(door.exchanges) == 3000

    run(main())


# -- Expect -------------------------------------------------------------------------------------


@both
def test_who_expects_to_be_asked_is_asked_if_the_body_is_wanted(run: Run) -> None:
    async def main() -> None:
        expect = b"Expect: 100-continue\r\n"
        async with serving(limits=Limits(tick_s=0.02, body=1000)) as door, wired(door.port) as wire:
            for _ in range(2):
                await wire.send(POST + expect + b"Content-Length: 3\r\n\r\n")
                assert await wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
                await wire.send(b"abc")
                assert await wire.answer() == (200, b"abc")
            for sent, late in ((b"abc", b""), (b"a", b"bc")):  # it does not wait
                await wire.send(POST + expect + b"Content-Length: 3\r\n\r\n" + sent)
                await asyncio.sleep(0.02)
                await wire.send(late)
                assert await wire.answer() == (200, b"abc")
            await wire.send(POST + expect + b"Content-Length: 1001\r\n\r\n")
            assert (await wire.rest()).startswith(b"HTTP/1.1 413 ")

    run(main())


# -- the end ------------------------------------------------------------------------------------


@both
def test_draining_lets_live_answers_end_and_takes_nothing_new(run: Run) -> None:
    async def main() -> None:
        async with (
            serving(silent) as door,
            wired(door.port) as idle,
            wired(door.port) as busy,
            wired(door.port) as late,
        ):
            await busy.send(GET)
            await late.send(GET)
            await until(lambda: len(door.exchanges) == 2)
            streaming, waiting = door.exchanges
            streaming.start(200, (), None)
            drain = asyncio.ensure_future(door.server.drain(5))
            assert await idle.rest() == b""
            streaming.write(b"abc")
            streaming.end()
            assert (await busy.rest()).endswith(b"3\r\nabc\r\n0\r\n\r\n")
            assert not drain.done()
            waiting.reply(Reply(200, (), b"x"))
            assert b"connection: close" in await late.rest()
            await drain
            assert door.server.connections == 0
            try:
                async with wired(door.port):
                    raise AssertionError("it still listens")
            except ConnectionError:
                pass

    run(main())


@both
def test_draining_cuts_what_has_not_ended_in_time(run: Run) -> None:
    async def main() -> None:
        async with serving(silent) as door, wired(door.port) as wire:
            await wire.send(GET)
            await until(lambda: door.exchanges)
            door.exchanges[0].start(200, (), None)
            await door.server.drain(0.05)
            assert door.exchanges[0].gone
            assert not (await wire.rest()).endswith(b"0\r\n\r\n")

    run(main())


@both
def test_refusals_are_worded_by_the_owner(run: Run) -> None:
    def refuse(refusal: Refusal) -> Reply:
        return Reply(529, ((b"retry-after", b"3"),), refusal.message.encode())

    async def main() -> None:
        door = Door()
        door.server = await Server.listen("127.0.0.1", 0, door, refuse=refuse, names=["gateway"])
        async with wired(door.port) as wire:
            await wire.send(GET)
            told = await wire.rest()
            assert told.startswith(b"HTTP/1.1 529 ") and b"retry-after: 3\r\n" in told
        async with wired(door.port) as wire:
            await wire.send(GET.replace(b"127.0.0.1", b"gateway:%d" % door.port))
            assert (await wire.answer())[0] == 200
        await door.server.close()

    run(main())
