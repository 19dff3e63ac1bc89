"""The links to one origin: idle ones last in, first out; calls in line when there may be no more.

A connection that is being made belongs to whoever waits first. A call that was cancelled leaves
its connection to the others; one that waits for another's still has its own time-out.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque

from fleet.proxy.http.call import Call
from fleet.proxy.http.limits import ClientLimits
from fleet.proxy.http.link import Link
from fleet.proxy.http.origin import Origin
from fleet.proxy.wire import Fault

log = logging.getLogger(__name__)


class Pool:
    def __init__(
        self,
        origin: Origin,
        limits: ClientLimits,
        tls: ssl.SSLContext | None,
        tasks: asyncio.TaskGroup,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self.head_limit = limits.head
        self.links: set[Link] = set()
        self.waiting: deque[Call] = deque()
        self._origin = origin
        self._limits = limits
        self._tls = tls
        self._tasks = tasks
        self._idle: list[Link] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self, call: Call) -> None:
        idle = self._idle
        while idle:
            link = idle.pop()
            if not link.transport.is_closing():
                link.start(call, call.started)
                return
        call.carrier = self
        self.waiting.append(call)
        self._fill(call)

    # -- a call that waits ------------------------------------------------------------------

    def drop(self, call: Call) -> None:
        self.waiting.remove(call)

    def pause(self) -> None: ...  # the link will see it
    def resume(self) -> None: ...

    # -- the links' calls -------------------------------------------------------------------

    def release(self, link: Link) -> None:
        if self.waiting:
            link.start(self.waiting.popleft(), self.loop.time())
        else:
            self._idle.append(link)

    def lost(self, link: Link) -> None:
        self.links.discard(link)
        if link in self._idle:
            self._idle.remove(link)
        if self.waiting:
            self._fill(self.waiting[0])

    # -- connecting -------------------------------------------------------------------------

    def _fill(self, call: Call) -> None:
        """As many connections on their way as there are calls in line, if there may be."""
        room = self._limits.per_origin - len(self.links) - len(self._connecting)
        wanted = len(self.waiting) - len(self._connecting)
        for _ in range(min(room, wanted)):
            if self._closed:
                return
            task = self._tasks.create_task(self._connect(call.timeouts.connect))
            self._connecting.add(task)
            task.add_done_callback(self._tried)

    async def _connect(self, seconds: float) -> None:
        origin = self._origin
        try:
            async with asyncio.timeout(seconds):
                _, link = await self.loop.create_connection(
                    lambda: Link(self),
                    origin.host,
                    origin.port,
                    ssl=self._tls,
                    server_hostname=origin.host if self._tls else None,
                )
        except TimeoutError:
            self._failed(f"no connection within {seconds:g} s")
        except (OSError, ValueError) as error:
            self._failed(str(error))
        except Exception as error:
            log.exception("connecting failed in a way nobody thought of")
            self._failed(str(error))
        else:
            self._connected(link)

    def _connected(self, link: Link) -> None:
        if link.transport.is_closing():
            self._failed("the connection was closed at once")
            return
        self.links.add(link)
        self.release(link)

    def _failed(self, detail: str) -> None:
        """One connection that did not come about is one call that failed."""
        log.info("no connection to %s: %s", self._origin.key, detail)
        if self.waiting:
            call = self.waiting.popleft()
            call.fail(Fault.CONNECT, detail, answered=False, reused=False)

    def _tried(self, task: asyncio.Task[None]) -> None:
        """Only now is it counted on no more, also by calls that came as it failed."""
        self._connecting.discard(task)
        if self.waiting:
            self._fill(self.waiting[0])

    # -- the client's calls -----------------------------------------------------------------

    def check(self, now: float) -> None:
        for link in tuple(self.links):
            link.check(now)
        for link in tuple(self._idle):
            if link.idle_for(now) >= self._limits.idle_s:
                self._idle.remove(link)
                link.transport.close()
        is_full = len(self.links) >= self._limits.per_origin
        for call in tuple(self.waiting):
            waited, times = now - call.started, call.timeouts
            if waited >= times.total:
                self._give_up(call, Fault.TOTAL, f"no connection free within {times.total:g} s")
            elif waited >= times.connect and not is_full:
                self._give_up(call, Fault.CONNECT, f"no connection within {times.connect:g} s")

    def _give_up(self, call: Call, fault: Fault, detail: str) -> None:
        if not call.is_over:  # the sink of another may just have cancelled it
            self.waiting.remove(call)
            call.fail(fault, detail, answered=False, reused=False)

    def close(self) -> None:
        self._closed = True
        for task in tuple(self._connecting):
            task.cancel()
        while self.waiting:
            call = self.waiting.popleft()
            call.fail(Fault.CONNECT, "the client is closed", answered=False, reused=False)
        for link in tuple(self.links):
            link.transport.abort()
