"""Both loops, our server and raw connections to it, for the tests of the HTTP engine."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from fleet.proxy.http.server import Exchange, Limits, Server
from fleet.proxy.wire import Reply

Run = Callable[[Coroutine[Any, Any, None]], None]
PATIENCE = 5.0


def _clean(run: Run, main: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, and see that it leaves no task and no descriptor behind."""

    async def watched() -> None:
        await asyncio.wait_for(main, 4 * PATIENCE)
        for _ in range(3):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = descriptors()
    run(watched())
    if descriptors() > before:
        gc.collect()
        assert descriptors() <= before


uvloop.run(asyncio.sleep(0))  # opens what the library then keeps


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


def on_asyncio(main: Coroutine[Any, Any, None]) -> None:
    _clean(asyncio.run, main)


def on_uvloop(main: Coroutine[Any, Any, None]) -> None:
    _clean(uvloop.run, main)


both = pytest.mark.parametrize("run", [on_asyncio, on_uvloop], ids=["asyncio", "uvloop"])


class Door:
    """Takes every request, and answers as it is told to; keeps what came."""

    def __init__(self, answer: Callable[[Exchange], None] | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self.answer = answer or echo
        self.server: Server

    def __call__(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.answer(exchange)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def targets(self) -> list[str]:
        return [exchange.request.target for exchange in self.exchanges]


def echo(exchange: Exchange) -> None:
    request = exchange.request
    exchange.reply(Reply(200, ((b"x-target", request.target.encode()),), request.body))


def silent(_exchange: Exchange) -> None: ...


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[Exchange], None] | None = None, limits: Limits | None = None
) -> AsyncIterator[Door]:
    door = Door(answer)
    door.server = await Server.listen("127.0.0.1", 0, door, limits=limits or Limits(tick_s=0.02))
    try:
        yield door
    finally:
        await door.server.close()


class Wire:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)

    async def exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), PATIENCE)

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of an answer with a length."""
        head = await self.head()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]), await self.exactly(length)

    async def rest(self) -> bytes:
        """All until the other side closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE)
        except ConnectionError:
            return b""

    async def cut(self) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def wired(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not fact():
            await asyncio.sleep(0.002)
