"""The clients of the load: as little as can be between the socket and what is noted."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from typing import cast

import httptools

from scripts.bench.rig.bodies import MARK, STAMP
from scripts.bench.rig.target import Target

TIMED = re.compile(re.escape(STAMP) + rb"(\d{19})")
DEDUP = b"x-fleet-dedup"


class Client(asyncio.Protocol):
    """Sends when told, and tells when a whole answer is there."""

    def __init__(self, done: Callable[[Client], None]) -> None:
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.dedup = b""
        self.sent = 0.0
        self.number = 0
        self.status = 0  # 0 until an answer is whole
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self.sent and not self.status:
            self._done(self)

    def send(self, data: bytes, number: int) -> None:
        self.number, self.status = number, 0
        self.body.clear()
        self.sent = time.perf_counter()
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == DEDUP:
            self.dedup = value

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._done(self)

    @property
    def is_right(self) -> bool:
        """A whole answer to what this one asked."""
        return self.status == 200 and _repeats(self.number, self.body)


class Listener(Client):
    """Reads a stream, and notes how old each event is when it comes."""

    def __init__(self, done: Callable[[Client], None], note: Callable[[int], None]) -> None:
        super().__init__(done)
        self._note = note
        self._now = 0
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic_ns()
        super().data_received(data)

    def on_body(self, data: bytes) -> None:
        text = self._rest + data
        end = 0
        for found in TIMED.finditer(text):
            self._note(self._now - int(found[1]))
            end = found.end()
        self._rest = text[end:][-256:]

    @property
    def is_right(self) -> bool:
        return self.status == 200 and self.last_words

    @property
    def last_words(self) -> bool:
        return b"message_stop" in self._rest or b"[DONE]" in self._rest


async def connect(target: Target, make: Callable[[], Client]) -> Client:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(make, "127.0.0.1", target.port)
    return client


class Plain:
    """One blocking connection: the least that can be added to a time."""

    def __init__(self, target: Target) -> None:
        self._socket = socket.create_connection(("127.0.0.1", target.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def some(self) -> bytes:
        return self._socket.recv(1 << 16)

    def until(self, words: bytes) -> bytes:
        """All that comes up to the piece that has them, or up to the end."""
        got = b""
        while words not in got:
            piece = self.some()
            if not piece:
                break
            got += piece
        return got

    def ask(self, data: bytes, number: int) -> tuple[float, bool]:
        """Seconds to a whole answer or to its cut, and whether it is the right one."""
        whole: list[int] = []
        body: list[bytes] = []
        parser = httptools.HttpResponseParser(_Seen(whole, body))
        began = time.perf_counter()
        try:
            self._socket.sendall(data)
            while not whole:
                parser.feed_data(self._some())
        except (OSError, httptools.HttpParserError):
            return time.perf_counter() - began, False
        took = time.perf_counter() - began
        return took, parser.get_status_code() == 200 and _repeats(number, body)

    def _some(self) -> bytes:
        piece = self.some()
        if not piece:
            raise ConnectionError("the gateway closed the connection")
        return piece


class _Seen:
    def __init__(self, whole: list[int], body: list[bytes]) -> None:
        self.on_body = body.append
        self.on_message_complete = lambda: whole.append(1)


def _repeats(number: int, body: list[bytes]) -> bool:
    return MARK + b"%010d" % number in b"".join(body)
