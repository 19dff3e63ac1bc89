"""The least a Python process can do between two sockets: bytes across, nothing looked at.

    python -m scripts.bench.rig.relay UPSTREAM_PORT        prints the port it listens on

No gateway, and so no competitor: a floor, which tells what of a gateway's cost is the sockets'.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    """One end of a pair; what comes before the other end is there waits."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
        else:
            self.waiting.append(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


async def serve(upstream: int) -> None:
    loop = asyncio.get_running_loop()

    async def join(near: Side) -> None:
        _, far = await loop.create_connection(Side, "127.0.0.1", upstream)
        near.other, far.other = far, near
        assert far.transport is not None
        far.transport.writelines(near.waiting)
        near.waiting.clear()

    async with asyncio.TaskGroup() as group:

        def accepted() -> Side:
            near = Side()
            group.create_task(join(near))
            return near

        server = await loop.create_server(accepted, "127.0.0.1", 0, backlog=2048)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
