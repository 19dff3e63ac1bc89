"""Connections are shared one call after the other, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fleet.proxy.http.client import Client, ClientLimits, Timeouts
from fleet.proxy.wire import Failure, Fault
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


async def stalls(wire: Wire, _number: int) -> None:
    """Takes a request and begins to answer."""
    await request(wire)
    await wire.send(CHUNKED + b"2\r\nok\r\n")
    await wire.rest()


async def mute(wire: Wire, _number: int) -> None:
    await wire.rest()


# -- the pool -----------------------------------------------------------------------------------


@both
def test_calls_at_the_same_time_have_their_own_connections_and_later_ones_use_them(
    run: Run,
) -> None:
    async def main() -> None:
        async with upstream(always(OK)) as port, Client(limits=LIMITS) as client:
            for _ in range(3):
                await asyncio.gather(*(ask(client, port) for _ in range(5)))
                assert client.connections == 5

    run(main())


@both
def test_a_call_on_an_idle_connection_is_sent_at_once(run: Run) -> None:
    async def main() -> None:
        async with upstream(always(OK)) as port, Client(limits=LIMITS) as client:
            await ask(client, port)
            tasks = asyncio.all_tasks()
            taker = Taker()
            send(client, port, taker)
            assert client.waiting == 0 and asyncio.all_tasks() == tasks
            assert (await taker.done()).body == b"ok"

    run(main())


@both
@pytest.mark.parametrize("at_once", [True, False])
def test_a_call_that_comes_as_a_connection_fails_has_one_of_its_own(
    run: Run, at_once: bool
) -> None:
    async def main() -> None:
        with socket.socket() as nobody:  # bound, and never listening
            nobody.bind(("127.0.0.1", 0))
            port, second = nobody.getsockname()[1], Taker()

            class First(Taker):
                def failed(self, failure: Failure) -> None:
                    super().failed(failure)
                    if at_once:
                        send(client, port, second)
                    else:
                        asyncio.get_running_loop().call_soon(send, client, port, second)

            async with Client(limits=LIMITS) as client:
                send(client, port, First())
                async with asyncio.timeout(2):
                    failure = (await second.done()).failure
                assert failure is not None and failure.fault is Fault.CONNECT

    run(main())


@both
def test_the_sink_of_an_answer_may_send_the_next_call_on_the_same_connection(run: Run) -> None:
    async def main() -> None:
        second = Taker()

        class First(Taker):
            def end(self) -> None:
                super().end()
                send(client, port, second)

        async with upstream(always(OK)) as port, Client(limits=LIMITS) as client:
            send(client, port, First())
            assert (await second.done()).body == b"ok"
            assert client.connections == 1

    run(main())


@both
def test_calls_beyond_the_cap_wait_for_a_connection(run: Run) -> None:
    async def main() -> None:
        limits = ClientLimits(tick_s=0.01, per_origin=2)
        async with upstream(always(OK)) as port, Client(limits=limits) as client:
            takers = [Taker() for _ in range(20)]
            for taker in takers:
                send(client, port, taker)
            assert client.waiting == 20
            for taker in takers:
                assert (await taker.done()).body == b"ok"
            assert client.connections <= 2

    run(main())


@both
def test_calls_in_line_outlive_a_connection_that_breaks(run: Run) -> None:
    async def main() -> None:
        async def behave(wire: Wire, _number: int) -> None:
            await request(wire)  # and gone

        limits = ClientLimits(tick_s=0.01, per_origin=1)
        async with upstream(behave) as port, Client(limits=limits) as client:
            takers = [Taker() for _ in range(4)]
            for taker in takers:
                send(client, port, taker)
            for taker in takers:
                failure = (await taker.done()).failure
                assert failure is not None and failure.fault is Fault.RESET

    run(main())


@both
def test_idle_connections_are_closed_after_a_while(run: Run) -> None:
    async def main() -> None:
        limits = ClientLimits(tick_s=0.01, idle_s=0.05)
        async with upstream(always(OK)) as port, Client(limits=limits) as client:
            await ask(client, port)
            assert client.connections == 1
            await until(lambda: client.connections == 0)

    run(main())


# -- time-outs ----------------------------------------------------------------------------------


@both
def test_every_time_out_has_its_own_name(run: Run) -> None:
    async def main() -> None:
        cases = (
            (mute, Timeouts(first_byte=0.05), Fault.FIRST_BYTE, False),
            (stalls, Timeouts(idle=0.05), Fault.IDLE, True),
            (stalls, Timeouts(total=0.05), Fault.TOTAL, True),
            (mute, Timeouts(total=0.05), Fault.TOTAL, False),
        )
        for behave, timeouts, fault, answered in cases:
            async with upstream(behave) as port, Client(limits=LIMITS) as client:
                taker = Taker()
                send(client, port, taker, timeouts=timeouts)
                failure = (await taker.done()).failure
                assert failure is not None
                assert (failure.fault, failure.answered) == (fault, answered)
                await until(lambda client=client: client.connections == 0)  # type: ignore[misc]

    run(main())


@both
def test_a_connection_that_does_not_come_about_in_time_is_a_failure_to_connect(run: Run) -> None:
    async def main() -> None:
        with socket.socket() as full:  # its queue is full: further connections hang
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            plugs = [socket.socket() for _ in range(4)]
            for plug in plugs:
                plug.setblocking(False)
                plug.connect_ex(("127.0.0.1", port))
            async with Client(limits=LIMITS) as client:
                timed, cancelled = Taker(), Taker()
                send(client, port, cancelled).cancel()
                send(client, port, timed, timeouts=Timeouts(connect=0.1))
                failure = (await timed.done()).failure
                assert failure is not None and failure.fault is Fault.CONNECT
                assert cancelled.told == []
            for plug in plugs:
                plug.close()

    run(main())


@both
def test_an_answer_is_waited_for_from_when_the_request_is_out(run: Run) -> None:
    async def main() -> None:
        body = b"x" * 30_000_000

        async def behave(wire: Wire, _number: int) -> None:
            await wire.head()
            for _ in range(20):
                await asyncio.sleep(0.02)
                await wire.exactly(len(body) // 20)
            await wire.send(OK)
            await wire.rest()

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            taker = Taker()
            send(client, port, taker, body=body, timeouts=Timeouts(first_byte=0.2))
            assert (await taker.done()).failure is None

    run(main())


@both
def test_a_slow_answer_is_in_time_while_it_moves(run: Run) -> None:
    async def main() -> None:
        async def behave(wire: Wire, _number: int) -> None:
            await request(wire)
            await wire.send(CHUNKED)
            for _ in range(10):
                await asyncio.sleep(0.03)
                await wire.send(b"1\r\nx\r\n")
            await wire.send(b"0\r\n\r\n")

        async with upstream(behave) as port, Client(limits=LIMITS) as client:
            taker = Taker()
            send(client, port, taker, timeouts=Timeouts(first_byte=0.25, idle=0.25))
            assert (await taker.done()).body == b"x" * 10

    run(main())
