"""An answer that is kept: as little as will do, for there may be tens of thousands.

A flight that is over is a hundred objects; this is three, and the bytes. What is asked for again
becomes a flight again, for as long as it is being read.
"""

from __future__ import annotations

from fleet.core.usage import Usage
from fleet.proxy.wire import Headers

OVERHEAD_BYTES = 1024  # of an answer, its key and its place in a table, beside what it says


class Kept:
    __slots__ = (
        "call_id",
        "consumed",
        "head",
        "hidden",
        "is_sound",
        "log",
        "streams",
        "usage",
    )

    def __init__(
        self,
        *,
        headers: Headers,
        log: tuple[bytes, ...],
        hidden: tuple[int, ...],
        streams: bool,
        usage: Usage,
        call_id: int,
        consumed: tuple[str, ...],
    ) -> None:
        self.head = b"\n".join(b"%b:%b" % pair for pair in headers)
        self.log = log
        self.hidden = hidden  # entries that only those get who asked for usage
        self.streams = streams  # it was asked for as a stream
        self.usage = usage
        self.call_id = call_id
        self.consumed = consumed  # who has had all of it
        self.is_sound = False  # somebody has looked

    @property
    def headers(self) -> Headers:
        pairs = (line.partition(b":") for line in self.head.split(b"\n"))
        return tuple((name, value) for name, _, value in pairs if name)

    @property
    def size(self) -> int:
        return sum(map(len, self.log)) + len(self.head) + OVERHEAD_BYTES

    def add(self, caller: str) -> None:
        """Somebody has had all of it."""
        if caller not in self.consumed:
            self.consumed += (caller,)
