"""What stands behind and in the middle when the HTTP engine is measured; one process each.

    PYTHONPATH=. .venv/bin/python scripts/bench/engine_ends.py ROLE LOOP UPSTREAM-PORT

Prints its port and serves until TERM. `upstream` answers by counting bytes; `pipe` passes bytes on
unread; `engine` is server to client with nothing in between.
"""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import cast

import uvloop

from fleet.proxy.http.client import Client, Origin, Timeouts
from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.wire import Failure, Headers, Reply, Sending

ANSWER = b'{"text": "%s"}' % (b"y" * 956)
EVENT = b'event: content_block_delta\ndata: {"delta": {"text": "%s"}}\n\n' % (b"z" * 64)
GAP_S = 0.02


class Relay:
    """What came goes on: whole when it has a length, else as it comes."""

    __slots__ = ("body", "exchange", "headers", "sending", "status", "streams")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.body = b""
        self.sending: Sending | None = None

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self.streams = (b"transfer-encoding", b"chunked") in headers
        if self.streams:
            self.exchange.start(status, headers, None)

    def data(self, data: bytes) -> None:
        if self.streams:
            self.exchange.write(data)
        else:
            self.body += data

    def end(self) -> None:
        if self.streams:
            self.exchange.end()
        else:
            self.exchange.reply(Reply(self.status, self.headers, self.body))

    def failed(self, failure: Failure) -> None:
        print(failure, file=sys.stderr)
        self.exchange.abort()


async def engine(upstream: int) -> None:
    origin = Origin("http", "127.0.0.1", upstream)
    timeouts = Timeouts()
    async with Client() as client:

        def accept(exchange: Exchange) -> None:
            request = exchange.request
            relay = Relay(exchange)
            relay.sending = client.send(
                origin,
                request.method,
                request.target,
                request.headers,
                request.body,
                relay,
                timeouts,
            )
            exchange.on_gone = relay.sending.cancel

        server = await Server.listen("127.0.0.1", 0, accept)
        await until_stopped(server.port)
        await server.close()


class End(asyncio.Protocol):
    """One end of a bare pipe: what it reads, the other writes."""

    def __init__(self, other: End | None = None) -> None:
        self.other = other
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.other is not None:
            self.other.other = self
            self.transport.write(self.other.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.abort()


async def pipe(upstream: int) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:

        def accept() -> End:
            near = End()
            tasks.create_task(loop.create_connection(lambda: End(near), "127.0.0.1", upstream))
            return near

        listener = await loop.create_server(accept, "127.0.0.1", 0, backlog=1024)
        await until_stopped(listener.sockets[0].getsockname()[1])
        listener.close()


async def upstream(_: int) -> None:
    listener = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", 0, backlog=1024)
    await until_stopped(listener.sockets[0].getsockname()[1])
    listener.close()


class Mock(asyncio.Protocol):
    """As little as an upstream can do: requests are counted by length, not parsed."""

    transport: asyncio.Transport
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(ANSWER),
        ANSWER,
    )
    stream = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self.transport = cast(asyncio.Transport, transport)
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while b"\r\n\r\n" in self.seen:
            head, _, rest = self.seen.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: (\d+)", head)
            length = int(found[1]) if found else 0
            if len(rest) < length:
                return
            self.seen = rest[length:]
            if head.startswith(b"GET"):
                self.transport.write(self.stream)
                self.next()
            else:
                self.transport.write(self.whole)

    def next(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.chunk)
            asyncio.get_running_loop().call_later(GAP_S, self.next)


async def until_stopped(port: int) -> None:
    gc.freeze()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(port, flush=True)
    await stop.wait()


ROLES: dict[str, Callable[[int], Coroutine[None, None, None]]] = {
    "engine": engine,
    "pipe": pipe,
    "upstream": upstream,
}


def main() -> None:
    role, loop, port = sys.argv[1:]
    run = uvloop.run if loop == "uvloop" else asyncio.run
    run(ROLES[role](int(port)))


if __name__ == "__main__":
    main()
