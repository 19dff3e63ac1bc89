"""Sinks, and servers that do as they are told, for the tests of the HTTP client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fleet.proxy.http.client import Client, ClientLimits, Origin, Timeouts
from fleet.proxy.wire import Failure, Headers, Sending, Sink
from tests.proxy.http.engine_fakes import PATIENCE, Wire

LIMITS = ClientLimits(tick_s=0.01)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def send(
    client: Client,
    port: int,
    sink: Sink,
    *,
    method: str = "POST",
    headers: Headers = (),
    body: bytes = b"{}",
    timeouts: Timeouts | None = None,
) -> Sending:
    origin = Origin("http", "127.0.0.1", port)
    return client.send(origin, method, "/v1/x?y", headers, body, sink, timeouts or Timeouts())


async def ask(client: Client, port: int, **more: bytes) -> Taker:
    taker = Taker()
    send(client, port, taker, body=more.get("body", b"{}"))
    return await taker.done()


async def request(wire: Wire) -> tuple[bytes, bytes]:
    head = await wire.head()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    return head, await wire.exactly(length)


def always(answer: bytes) -> Callable[[Wire, int], Awaitable[None]]:
    """Keeps its connection, and answers every request with these bytes."""

    async def behave(wire: Wire, _number: int) -> None:
        while True:
            await request(wire)
            await wire.send(answer)

    return behave


def once(answer: bytes) -> Callable[[Wire, int], Awaitable[None]]:
    """Answers with these bytes, then closes."""

    async def behave(wire: Wire, _number: int) -> None:
        await request(wire)
        await wire.send(answer)

    return behave


class Taker:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.pieces: list[bytes] = []
        self.failure: Failure | None = None
        self.told: list[str] = []
        self.over = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def head(self, status: int, headers: Headers) -> None:
        self.told.append("head")
        self.status, self.headers = status, headers

    def data(self, data: bytes) -> None:
        self.told.append("data")
        self.pieces.append(data)

    def end(self) -> None:
        self.told.append("end")
        self.over.set()

    def failed(self, failure: Failure) -> None:
        self.told.append("failed")
        self.failure = failure
        self.over.set()

    async def done(self) -> Taker:
        await asyncio.wait_for(self.over.wait(), PATIENCE)
        return self


@contextlib.asynccontextmanager
async def upstream(
    behave: Callable[[Wire, int], Awaitable[None]],
    **tls: Any,
) -> AsyncIterator[int]:
    """A server that does to each connection, the how-maniest it is, as it is told; its port."""
    seen = 0
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await behave(Wire(reader, writer), seen)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(one, "127.0.0.1", 0, **tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        while tasks:
            await asyncio.sleep(0)
        await server.wait_closed()
