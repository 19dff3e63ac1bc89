"""The pooled HTTP/1.1 client: a call on a free connection is on the wire before `send` returns."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

from fleet.proxy.http.call import Call, render
from fleet.proxy.http.limits import ClientLimits, Timeouts
from fleet.proxy.http.origin import Origin
from fleet.proxy.http.pool import Pool
from fleet.proxy.wire import Fault, Headers, Sending, Sink

__all__ = ["Client", "ClientLimits", "Origin", "Timeouts"]


class Client:
    """Sinks are called from the event loop only, never from within `send`. It adds the host and
    the body's length to a request, and nothing else."""

    def __init__(
        self, *, limits: ClientLimits | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._limits = limits or ClientLimits()
        self._tls = tls
        self._tasks = asyncio.TaskGroup()
        self._pools: dict[str, Pool] = {}
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._closed = True

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        self._closed = False
        self._timer = self._loop.call_later(self._limits.tick_s, self._sweep)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for pool in self._pools.values():
            pool.close()
        try:
            while self.connections:
                await asyncio.sleep(0)
        finally:
            await self._tasks.__aexit__(kind, error, trace)

    @property
    def connections(self) -> int:
        return sum(len(pool.links) for pool in self._pools.values())

    @property
    def waiting(self) -> int:
        """Calls that have no connection yet."""
        return sum(len(pool.waiting) for pool in self._pools.values())

    def send(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Headers,
        body: bytes,
        sink: Sink,
        timeouts: Timeouts,
    ) -> Sending:
        """`target` is what goes on the wire: any base path is in it."""
        head = render(origin, method, target, headers, len(body))
        call = Call(head, body, sink, timeouts, self._loop.time())
        if self._closed:
            self._loop.call_soon(_closed, call)
            return call
        pool = self._pools.get(origin.key)
        if pool is None:
            tls = self._context() if origin.is_tls else None
            pool = Pool(origin, self._limits, tls, self._tasks, self._loop)
            self._pools[origin.key] = pool
        pool.take(call)
        return call

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _sweep(self) -> None:
        self._timer = self._loop.call_later(self._limits.tick_s, self._sweep)
        now = self._loop.time()
        for pool in tuple(self._pools.values()):
            pool.check(now)


def _closed(call: Call) -> None:
    call.fail(Fault.CONNECT, "the client is closed", answered=False, reused=False)
