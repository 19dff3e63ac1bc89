"""A provider that answers every call differently, and is made to fail at a chosen phase.

It counts a call when it has read its head, before anything can go wrong with it. What it answers
is up to a `Play`; none of it is made with fleet's own HTTP code.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

from tests.chaos.proxy_answers import Ask, Form, Made

RESET = struct.pack("ii", 1, 0)  # linger for no time: a close is a reset
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")
_PIECES = 4  # that a whole answer is cut into
_WORDS = {200: b"OK", 429: b"Too Many Requests", 500: b"Internal Server Error", 529: b"Overloaded"}


class Phase(StrEnum):
    """How far an answer has come."""

    BEFORE_HEAD = "before head"
    AFTER_HEAD = "after head"
    HELD_BACK = "held back"  # events, but none with content
    COMMITTED = "committed"
    AT_END = "at end"  # all of it is there, but for the mark that there is no more


class Cut(StrEnum):
    """How a connection ends."""

    RESET = "reset"
    CLOSE = "close"


def reset(writer: asyncio.StreamWriter, how: Cut = Cut.RESET) -> None:
    sock = writer.get_extra_info("socket")
    if how is Cut.RESET and sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    else:
        writer.close()


class Call:
    """One call, as who answers it sees it."""

    def __init__(
        self, ask: Ask, nonce: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.ask = ask
        self.nonce = nonce
        self._reader = reader
        self._writer = writer
        self._left: list[bytes] | None = None

    def made(self, form: Form | None = None) -> Made:
        usual = Form.STREAM if self.ask.stream else Form.WHOLE
        return Made(self.ask.dialect, self.ask.number, self.nonce, form or usual)

    async def reach(self, phase: Phase, form: Form | None = None) -> None:
        """Say what belongs to the answer up to there, and not a byte more."""
        if phase is Phase.BEFORE_HEAD:
            return
        if self._left is None:
            self._left = list(self._pieces(form))
            kind = b"text/event-stream" if self.ask.stream else b"application/json"
            self.raw(self.head(200, kind, b"transfer-encoding: chunked"))
        pieces = self._pieces(form)
        preamble = self.made(form).preamble if self.ask.stream else 1
        wanted = {
            Phase.AFTER_HEAD: 0,
            Phase.HELD_BACK: preamble,
            Phase.COMMITTED: preamble + 1,
            Phase.AT_END: len(pieces),
        }[phase]
        for _ in range(wanted - (len(pieces) - len(self._left))):
            self.chunk(self._left.pop(0))
        await self._writer.drain()

    def _pieces(self, form: Form | None) -> Sequence[bytes]:
        made = self.made(form)
        if self.ask.stream:
            return made.events(usage=self.ask.usage)
        whole = made.whole()
        size = -(-len(whole) // _PIECES)
        return [whole[at : at + size] for at in range(0, len(whole), size)]

    async def step(self, form: Form | None = None) -> bool:
        """One piece more; False when there is none."""
        if self._left is None:
            await self.reach(Phase.AFTER_HEAD, form)
        assert self._left is not None
        if self._left:
            self.chunk(self._left.pop(0))
            await self._writer.drain()
        return bool(self._left)

    async def end(self) -> None:
        await self.reach(Phase.AT_END)
        self.raw(b"0\r\n\r\n")

    async def answer(self) -> None:
        await self.end()

    # -- what no provider should say --------------------------------------------------------

    def head(self, status: int, kind: bytes, *lines: bytes) -> bytes:
        first = b"HTTP/1.1 %d %b" % (status, _WORDS[status])
        return b"\r\n".join((first, b"content-type: " + kind, *lines, b"", b""))

    def refuse(self, status: int, *lines: bytes) -> None:
        body = self.made().refusal()
        length = b"content-length: %d" % len(body)
        self.raw(self.head(status, b"application/json", length, *lines) + body)

    def chunk(self, data: bytes) -> None:
        self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    def raw(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    async def gone(self) -> None:
        """Until the proxy gives up."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(4096):
                pass

    def cut(self, how: Cut) -> None:
        reset(self._writer, how)


Play = Callable[[Call], Awaitable[None]]  # one that wants no further call cuts the connection


class Upstream:
    """`async with` it; `kill` and `start` it as often as you like, the port stays."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.port = 0
        self.calls = 0
        self.seen: Counter[str] = Counter()  # whatever a play wants to count
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Upstream:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.kill()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, backlog=1024, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def kill(self) -> None:
        """As a process that dies: nobody listens, and every connection is reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()

    def drop(self) -> None:
        """Every connection, also those that wait for a next call."""
        for writer in tuple(self._writers):
            reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                await self._call(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.calls += 1
        nonce = self.calls
        path = head.split(b" ", 2)[1].decode()
        length = _LENGTH.search(head)
        assert length is not None
        ask = Ask.read(path, await reader.readexactly(int(length[1])))
        await self.play(Call(ask, nonce, reader, writer))
