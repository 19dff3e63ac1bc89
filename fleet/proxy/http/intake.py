"""Requests as they come in: bytes go in, whole requests come out, one at a time. No I/O, no clock.

What lies beyond a request stays unparsed until the next one is asked for.
"""

from __future__ import annotations

from fleet.proxy.http.bodies import Body, Chunked, Counted
from fleet.proxy.http.heads import CHUNKED, Head, Names, Refusal, read, suspect
from fleet.proxy.http.limits import Limits

_NEVER = 0.0


class Intake:
    __slots__ = ("_began", "_body", "_due", "_limits", "_names", "_seen", "ahead", "head")

    def __init__(self, limits: Limits, names: Names) -> None:
        self._limits = limits
        self._names = names
        self.ahead = b""  # read, not parsed
        self.head: Head | None = None  # of a request whose body is coming in
        self._body: Body | None = None
        self._began = _NEVER
        self._due = _NEVER
        self._seen = 0

    def take(self, data: bytes) -> tuple[Head, bytes] | None:
        """The next whole request, if `data` completes it."""
        if self.ahead:
            data, self.ahead = self.ahead + data, b""
        if self.head is not None:
            return self._feed(self.head, data)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._partial(data)
            return None
        if end > self._limits.head:
            self._too_long(data)
        head = read(data[:end], self._limits, self._names)
        self._began = _NEVER
        start, length = end + 4, head.length
        stop = start + length
        if length < 0 or len(data) < stop:
            return self._expect_body(head, data[start:])
        if len(data) > stop:
            self.ahead = data[stop:]
        return head, data[start:stop]

    def clear(self) -> None:
        self.ahead = b""
        self.head = self._body = None

    @property
    def got(self) -> int:
        """Bytes of a body that is coming in."""
        return 0 if self._body is None else self._body.got

    @property
    def is_idle(self) -> bool:
        return self.head is None and not self.ahead

    def check(self, now: float) -> None:
        """Refuses what comes too slowly. The clock starts with the first check."""
        limits, got = self._limits, self.got
        if self._began == _NEVER:
            self._began, self._due = now, now + limits.body_idle_s
        if self.head is None:
            if now - self._began >= limits.head_s:
                raise Refusal(408, "the head did not come in time")
            return
        if got != self._seen:
            self._seen, self._due = got, now + limits.body_idle_s
        slow = now - self._began - limits.body_grace_s
        if now >= self._due or got < slow * limits.body_rate:
            raise Refusal(408, "the body did not come in time")

    def _partial(self, data: bytes) -> None:
        if not data:
            return
        suspect(data)
        if len(data) > self._limits.head:
            self._too_long(data)
        self.ahead = data

    def _too_long(self, data: bytes) -> None:
        limit = self._limits.head
        status = 431 if b"\n" in data[:limit] else 414
        raise Refusal(status, f"a head of more than {limit} bytes")

    def _expect_body(self, head: Head, data: bytes) -> tuple[Head, bytes] | None:
        chunked = head.length == CHUNKED
        self._body = Chunked(self._limits.body) if chunked else Counted(head.length)
        self.head = head
        self._seen = 0
        return self._feed(head, data) if data else None

    def _feed(self, head: Head, data: bytes) -> tuple[Head, bytes] | None:
        body = self._body
        assert body is not None
        rest = body.feed(data)
        if rest is None:
            return None
        self.head = self._body = None
        self._began = _NEVER
        self.ahead = rest
        return head, body.whole()
