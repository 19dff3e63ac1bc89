"""fleet's HTTP server and client with nothing between them.

    python -m scripts.bench.rig.engine UPSTREAM_PORT       prints the port it listens on

What a proxy costs that parses, checks and frames, but knows nobody and remembers nothing: the rest
of fleet's cost is what it does with what it reads.
"""

from __future__ import annotations

import asyncio
import gc
import sys

import uvloop

from fleet.proxy.headers import for_upstream
from fleet.proxy.http.client import Client, Origin, Timeouts
from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.wire import Failure, Headers, Reply, header

FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})


class Back:
    """The sink of one answer."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def head(self, status: int, headers: Headers) -> None:
        length = header(headers, b"content-length")
        kept = tuple(h for h in headers if h[0] not in FRAMING)
        self._exchange.start(status, kept, int(length) if length else None)

    def data(self, data: bytes) -> None:
        self._exchange.write(data)

    def end(self) -> None:
        self._exchange.end()
        self._exchange.on_gone = None  # which leads back here: a circle that holds the body

    def failed(self, failure: Failure) -> None:
        if failure.answered:
            self._exchange.abort()
        else:
            self._exchange.reply(Reply(502, (), failure.detail.encode()))


async def serve(upstream: int) -> None:
    origin, times = Origin("http", "127.0.0.1", upstream), Timeouts()
    async with Client() as client:

        def accept(exchange: Exchange) -> None:
            asked = exchange.request
            headers = for_upstream(asked.headers, login=True)
            sending = client.send(
                origin, asked.method, asked.target, headers, asked.body, Back(exchange), times
            )
            exchange.on_gone = sending.cancel

        server = await Server.listen("127.0.0.1", 0, accept)
        print(server.port, flush=True)
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # as the proxy does
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
