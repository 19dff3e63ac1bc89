"""The server: listens on loopback, keeps count of its connections, and shuts down in order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from fleet.proxy.http.answers import plain
from fleet.proxy.http.connection import Connection
from fleet.proxy.http.exchange import Exchange
from fleet.proxy.http.front import Front
from fleet.proxy.http.heads import LOOPBACK, Names, Refusal
from fleet.proxy.http.limits import Limits
from fleet.proxy.wire import Reply

__all__ = ["Exchange", "Limits", "Refusal", "Server"]


class Server:
    """`accept` gets every good request; `refuse` words the answer to a bad one."""

    def __init__(self, front: Front, listener: asyncio.Server, port: int) -> None:
        self.port = port
        self._front = front
        self._listeners = [listener]
        self._timer = front.loop.call_later(front.limits.tick_s, self._sweep)

    @classmethod
    async def listen(
        cls,
        host: str,
        port: int,
        accept: Callable[[Exchange], None],
        *,
        limits: Limits | None = None,
        refuse: Callable[[Refusal], Reply] = plain,
        names: Iterable[str] = LOOPBACK,
    ) -> Self:
        """Port 0: any free one. `names` are the hosts that requests may be addressed to."""
        loop = asyncio.get_running_loop()
        front = Front(loop, accept, refuse, limits or Limits(), Names.of((), 0))
        front.empty.set()
        listener = await loop.create_server(
            lambda: Connection(front), host, port, backlog=1024, start_serving=False
        )
        bound: int = listener.sockets[0].getsockname()[1]
        front.names = Names.of(names, bound)
        await listener.start_serving()
        return cls(front, listener, bound)

    async def open_door(self, path: Path) -> None:
        """Be found by this file as well, for programs in a network of their own."""
        front = self._front
        listener = await front.loop.create_unix_server(
            lambda: Connection(front), sock=_bound_to(path), backlog=1024
        )
        self._listeners.append(listener)

    @property
    def connections(self) -> int:
        return len(self._front.connections)

    @property
    def held(self) -> int:
        """Bytes of bodies whose requests are not answered yet."""
        return self._front.held

    async def drain(self, seconds: float) -> None:
        """Take no more; let live answers end for so long, then cut them."""
        front = self._front
        front.draining = True
        self._hear_no_more()
        for connection in tuple(front.connections):
            connection.retire()
        try:
            async with asyncio.timeout(seconds):
                await front.empty.wait()
        except TimeoutError:
            pass
        await self.close()

    async def close(self) -> None:
        """At once."""
        front = self._front
        front.draining = True
        self._timer.cancel()
        self._hear_no_more()
        for connection in tuple(front.connections):
            connection.kill()
        await front.empty.wait()
        for listener in self._listeners:
            await listener.wait_closed()

    def _hear_no_more(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _sweep(self) -> None:
        front = self._front
        self._timer = front.loop.call_later(front.limits.tick_s, self._sweep)
        now = front.loop.time()
        for connection in tuple(front.connections):
            connection.check(now)


def _bound_to(path: Path) -> socket.socket:
    """A new socket file in place of what another process left. Its name may be longer than the 107
    bytes an address holds: the kernel is told of its folder by a descriptor."""
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        door.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o600)
    except OSError:
        door.close()
        raise
    finally:
        os.close(folder)
    return door
