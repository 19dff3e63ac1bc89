"""A provider on a raw socket that keeps what it is sent and answers what it is told, and a client
on another: nothing between them but the proxy has an idea of HTTP, or of what is in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.proxy.http.client_fakes import request, upstream
from tests.proxy.http.engine_fakes import Wire, wired
from tests.proxy.running import Running, running

HEADER = tuple[bytes, bytes]
# As `fleet.toml` names them: one provider of each kind, all of them this one.
ALL_KINDS = """
[proxy]
tries = 1
[proxy.upstreams.of-anthropic]
kind = "anthropic"
url = "{url}"
[proxy.upstreams.of-openai]
kind = "openai"
url = "{url}/v1"
[proxy.upstreams.of-gemini]
kind = "gemini"
url = "{url}"
"""


@dataclass(frozen=True, slots=True)
class Came:
    """One call, as it came."""

    line: str
    headers: tuple[HEADER, ...]
    body: bytes
    raw: bytes  # the head

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.headers if key == name.encode()]


@dataclass
class Provider:
    port: int = 0
    came: list[Came] = field(default_factory=list)
    head: bytes = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    pieces: tuple[bytes, ...] = (b"{}",)  # of the answer: each is a write, and a read, of its own
    chunked: bool = False
    closes: bool = False  # the answer has no length, and ends with the connection

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Came:
        return self.came[-1]

    def answers(self, kind: str, *pieces: bytes, status: str = "200 OK", more: bytes = b"") -> None:
        self.head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n".encode() + more
        self.pieces = pieces

    async def serve(self, wire: Wire, _number: int) -> None:
        while True:
            head, body = await request(wire)
            self.came.append(_came(head, body))
            framing = b"content-length: %d\r\n" % sum(map(len, self.pieces))
            if self.closes:
                framing = b"connection: close\r\n"
            elif self.chunked:
                framing = b"transfer-encoding: chunked\r\n"
            await wire.send(self.head + framing + b"\r\n")
            for piece in self.pieces:
                await _settle()
                await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
            if self.closes:
                return
            if self.chunked:
                await wire.send(b"0\r\n\r\n")


async def _settle() -> None:
    """Until the proxy, in this loop, has read what was written: once round it is seen, twice it
    is read."""
    for _ in range(3):
        await asyncio.sleep(0)


def _came(head: bytes, body: bytes) -> Came:
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = tuple((name, value) for name, _, value in (text.partition(b": ") for text in fields))
    return Came(line.decode(), pairs, body, head)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[HEADER, ...]
    body: bytes

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.headers if key == name.encode()]


@dataclass
class Asker:
    """A client on one connection."""

    wire: Wire
    host: str

    async def ask(
        self, target: str, body: bytes | tuple[bytes, ...], *headers: str, method: str = "POST"
    ) -> Answer:
        """A body in parts goes out in chunks."""
        parts: tuple[bytes, ...]
        if isinstance(body, bytes):
            framing, parts = f"content-length: {len(body)}", (body,)
        else:
            framing = "Transfer-Encoding: chunked"
            chunks = tuple(b"%x\r\n%b\r\n" % (len(part), part) for part in body)
            parts = (*chunks, b"0\r\n\r\n")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}", *headers, framing]
        await self.wire.send("\r\n".join([*lines, "", ""]).encode("utf-8"))
        for part in parts:
            await self.wire.send(part)
        return await self._answer()

    async def _answer(self) -> Answer:
        line, *fields = (await self.wire.head()).removesuffix(b"\r\n\r\n").split(b"\r\n")
        headers = tuple((name, value) for name, _, value in (f.partition(b": ") for f in fields))
        length = [int(value) for name, value in headers if name == b"content-length"]
        body = await self.wire.exactly(length[0]) if length else await self._chunks()
        return Answer(int(line.split(b" ")[1]), headers, body)

    async def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while True:
            size = int((await self.wire.reader.readline()).strip(), 16)
            part = (await self.wire.exactly(size + 2))[:-2]
            if not size:
                return b"".join(parts)
            parts.append(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A client, the proxy, and the provider behind it."""

    proxy: Running
    provider: Provider
    asker: Asker

    async def ask(
        self, target: str, body: bytes | tuple[bytes, ...], *headers: str, method: str = "POST"
    ) -> Answer:
        """With the token in the path."""
        place = f"/a/{self.proxy.token}{target}"
        return await self.asker.ask(place, body, *headers, method=method)


def on_the_wire(
    folder: Path,
    scenario: Callable[[Passage], Awaitable[None]],
    toml: str = ALL_KINDS,
    environ: Mapping[str, str] | None = None,
) -> None:
    async def run() -> None:
        async with passage(folder, toml, environ) as found:
            await scenario(found)

    asyncio.run(run())


@contextlib.asynccontextmanager
async def passage(
    folder: Path, toml: str = ALL_KINDS, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Passage]:
    provider = Provider()
    async with upstream(provider.serve) as provider.port:
        fleet = toml.replace("{url}", provider.url)
        async with running(folder, fleet, environ) as proxy, wired(proxy.server.port) as wire:
            asker = Asker(wire, f"127.0.0.1:{proxy.server.port}")
            yield Passage(proxy=proxy, provider=provider, asker=asker)
