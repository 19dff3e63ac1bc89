"""A llama.cpp server: as many calls at a time as it has slots, which it says itself.

Until it has said so, one at a time: what waits in the server's own queue cannot be taken back.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from fleet.proxy.fetch import fetch
from fleet.proxy.remote import Slotted
from fleet.proxy.wire import Outgoing, Sending, Sink, Upstream

log = logging.getLogger(__name__)

PROPS = Outgoing("GET", "/props", ())
PATIENCE_S = 5.0
AGAIN_S = 60.0  # it may be restarted with other settings


class _Props(msgspec.Struct):
    total_slots: int = 1


class Llama:
    """An `Upstream`."""

    def __init__(self, upstream: Upstream, tasks: asyncio.TaskGroup) -> None:
        self._upstream = upstream
        self._slotted = Slotted(upstream, 1)
        self._tasks = tasks
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def slots(self) -> int:
        return self._slotted.slots

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        now = asyncio.get_running_loop().time()
        if self._asked_at is None or now - self._asked_at > AGAIN_S:
            self._asked_at = now
            self._asking = self._tasks.create_task(self._ask())
        return self._slotted.send(outgoing, sink)

    def close(self) -> None:
        """Wait for nothing it may still say."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                body = await fetch(self._upstream, PROPS)
            if body is not None:
                self._slotted.grow(msgspec.json.decode(body, type=_Props).total_slots)
        except (TimeoutError, msgspec.DecodeError) as error:
            log.warning("a llama.cpp server does not say how many slots it has: %s", error)
