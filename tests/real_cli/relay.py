"""A bad line between an agent and the proxy: it breaks once, within an answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet.store import proxyfile

PIECE = 64 << 10


@dataclass(slots=True)
class Relay:
    """Lives in a thread of its own. `breaks_at`: bytes of an answer after which it breaks."""

    proxy_file: Path  # of a proxy that starts later
    breaks_at: bytes
    port: int = 0
    broken: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = proxyfile.read(self.proxy_file)
        assert address is not None
        ahead, onward = await asyncio.open_connection("127.0.0.1", address.port)
        ways = [
            asyncio.ensure_future(self._asked(reader, onward, address.port)),
            asyncio.ensure_future(self._answered(ahead, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for side in (writer, onward):
                side.transport.abort()
                with contextlib.suppress(OSError):
                    await side.wait_closed()

    async def _asked(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        while data := await reader.read(PIECE):
            writer.write(
                re.sub(rb"(?i)(\nhost: 127\.0\.0\.1):\d+", rb"\1:%d" % port, data, count=1)
            )

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            writer.write(data)
            if not self.broken and self.breaks_at in data:
                self.broken += 1
                await asyncio.sleep(0.2)  # the agent has read what came so far
                return


@contextlib.contextmanager
def a_relay(proxy_file: Path, breaks_at: bytes) -> Iterator[Relay]:
    relay, ready, stop = (
        Relay(proxy_file, breaks_at),
        threading.Event(),
        list[Callable[[], object]](),
    )

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        server = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
        relay.port = server.sockets[0].getsockname()[1]
        stop.append(lambda: loop.call_soon_threadsafe(over.set))
        ready.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="relay")
    thread.start()
    assert ready.wait(10)
    try:
        yield relay
    finally:
        stop[0]()
        thread.join()
