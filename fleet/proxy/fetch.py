"""One call of our own to an upstream, awaited whole: lists of models, settings of a server."""

from __future__ import annotations

import asyncio

from fleet.proxy.wire import Failure, Headers, Outgoing, Upstream

MOST_BYTES = 4 << 20  # lists of a thousand models take one


async def fetch(upstream: Upstream, outgoing: Outgoing) -> bytes | None:
    """The body of an answer with status 200; None for any other, and for one without measure."""
    whole = _Whole(asyncio.get_running_loop().create_future())
    sending = upstream.send(outgoing, whole)
    try:
        return await whole.future
    finally:
        if not whole.over:
            sending.cancel()


class _Whole:
    """A sink that waits for everything."""

    def __init__(self, future: asyncio.Future[bytes | None]) -> None:
        self.future = future
        self.over = False
        self._status = 0
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Headers) -> None:
        self._status = status

    def data(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_BYTES and not self.future.done():
            self._parts.clear()
            self.future.set_result(None)  # who waits cancels it

    def end(self) -> None:
        self._finish(b"".join(self._parts) if self._status == 200 else None)

    def failed(self, failure: Failure) -> None:
        self._finish(None)

    def _finish(self, body: bytes | None) -> None:
        self.over = True
        if not self.future.done():
            self.future.set_result(body)
