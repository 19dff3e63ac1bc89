"""The upstream of the benchmarks: one process that answers at once, or streams at a pace.

    python -m scripts.bench.rig.mock        prints the port it listens on

It speaks as much of Messages and Chat Completions as a gateway needs, and counts what it is asked.
Each delta of a stream carries the clock as it was when the event was written. `GET /bench/counts`
tells the counts; `POST /bench/pace?rate=30&events=300&delay=0.3` sets how streams run, and how long
any answer takes to begin.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import parse_qsl

import httptools
import uvloop

from scripts.bench.rig.bodies import DIGITS, MARK, STAMP, ZEROS, Api, answer, script

STREAMED = (b'"stream":true', b'"stream": true')
EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
SCRIPTS = {api: script(api) for api in Api}


@dataclass(slots=True)
class Counts:
    calls: int = 0  # answers begun, streams included
    streams: int = 0
    live: int = 0  # streams
    cut: int = 0  # streams whose reader left


@dataclass(slots=True)
class Pace:
    rate: float = 30.0  # events a second of one stream
    events: float = 300
    delay: float = 0.0  # before an answer's first byte


def _answers(api: Api) -> tuple[bytes, bytes]:
    before, after = answer(api)
    length = len(before) + DIGITS + len(after)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % length + before, after


ANSWERS = {api: _answers(api) for api in Api}


class Connection(asyncio.Protocol):
    def __init__(self, counts: Counts, pace: Pace) -> None:
        self.counts, self.pace = counts, pace
        self.open = True
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = cast(asyncio.Transport, transport).write  # uvloop's is none by its class

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        if self._url.startswith(b"/bench/"):
            self._control()
            return
        # A large body's middle is history, which nothing needs to be found in.
        edges = body if len(body) < 8192 else body[:2048] + body[-4096:]
        api = Api.CHAT if b"/chat/completions" in self._url else Api.MESSAGES
        self.counts.calls += 1
        at = edges.rfind(MARK) + len(MARK)
        number = edges[at : at + DIGITS] if at >= len(MARK) else ZEROS
        if STREAMED[0] in edges or STREAMED[1] in edges:
            self._soon(Stream(self, api).start)
        elif self.pace.delay:
            self._soon(lambda: self._answer(api, number))
        else:
            self._answer(api, number)

    def _soon(self, begin: Callable[[], None]) -> None:
        self._loop.call_later(self.pace.delay, begin)

    def _answer(self, api: Api, number: bytes) -> None:
        before, after = ANSWERS[api]
        if self.open:
            self.write(before + number + after)

    def _control(self) -> None:
        path, _, query = self._url.decode().partition("?")
        if path == "/bench/pace":
            for name, value in parse_qsl(query):
                setattr(self.pace, name, float(value))
        told = json.dumps(asdict(self.counts)).encode()
        self.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(told), told))


class Stream:
    """One answer in events, each at its time: a late one is not made up for by a burst."""

    def __init__(self, connection: Connection, api: Api) -> None:
        self._connection = connection
        self._script = SCRIPTS[api]
        self._loop = asyncio.get_running_loop()
        self._left = int(connection.pace.events)
        self._gap = 1 / connection.pace.rate
        self._next = 0.0

    def start(self) -> None:
        counts = self._connection.counts
        counts.streams += 1
        counts.live += 1
        self._next = self._loop.time()
        self._connection.write(EVENTS_HEAD + b"".join(map(_chunk, self._script.opening)))
        self._turn()

    def _turn(self) -> None:
        connection = self._connection
        if not connection.open:
            connection.counts.live -= 1
            connection.counts.cut += 1
            return
        before, after = self._script.delta
        stamped = b"%sa few words %s%019d; %s" % (before, STAMP, time.monotonic_ns(), after)
        connection.write(_chunk(stamped))
        self._left -= 1
        self._next = max(self._next + self._gap, self._loop.time())
        self._loop.call_at(self._next, self._turn if self._left > 0 else self._finish)

    def _finish(self) -> None:
        self._connection.counts.live -= 1
        if self._connection.open:
            self._connection.write(b"".join(map(_chunk, self._script.closing)) + LAST_CHUNK)


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)


async def serve() -> None:
    counts, pace = Counts(), Pace()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(counts, pace), "127.0.0.1", 0, backlog=2048
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.freeze()
    gc.disable()  # nothing here makes circles but closed connections, and a run is short
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
