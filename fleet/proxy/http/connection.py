"""A client's connection: one request after the other, each read whole and then answered.

What a client sends ahead stays unparsed until the answer before it has been given. A request that
breaks a rule is refused, and the connection with it: where it ends is then anybody's guess.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import cast

from fleet.proxy.http.answers import CLOSE, CONTINUE, render
from fleet.proxy.http.exchange import Exchange
from fleet.proxy.http.front import Front
from fleet.proxy.http.heads import Head, Refusal
from fleet.proxy.http.intake import Intake
from fleet.proxy.wire import Request

log = logging.getLogger(__name__)


class _State(Enum):
    READING = 0
    ANSWERING = 1
    CLOSING = 2  # what still comes is thrown away


_READING, _ANSWERING, _CLOSING = _State
_NEVER = 0.0  # a deadline that the next check sets: no clock is read for what rarely matters


class Connection(asyncio.Protocol):
    __slots__ = (
        "_asked",
        "_deadline",
        "_exchange",
        "_front",
        "_full",
        "_held",
        "_intake",
        "_reads",
        "_running",
        "_state",
        "_transport",
    )

    _transport: asyncio.Transport

    def __init__(self, front: Front) -> None:
        self._front = front
        self._intake = Intake(front.limits, front.names)
        self._state = _READING
        self._exchange: Exchange | None = None
        self._asked = False  # for the body that is coming in
        self._held = 0
        self._running = False
        self._full = False  # what we wrote piles up
        self._reads = True
        self._deadline = _NEVER

    # -- the transport's calls --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        front, limits = self._front, self._front.limits
        self._transport.set_write_buffer_limits(high=limits.high_water, low=limits.low_water)
        front.connections.add(self)
        front.empty.clear()
        if len(front.connections) > 2 * limits.connections or front.draining:
            self._transport.abort()
        elif len(front.connections) > limits.connections:
            self._refuse(Refusal(503, "too many connections"))

    def data_received(self, data: bytes) -> None:
        if self._state is _READING:
            self._run(data)
        elif self._state is _ANSWERING:
            intake = self._intake
            intake.ahead += data
            if self._reads and len(intake.ahead) > self._front.limits.pipelined:
                self._reads = False
                self._transport.pause_reading()

    def eof_received(self) -> None:
        self._lost()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        front = self._front
        front.connections.discard(self)
        if not front.connections:
            front.empty.set()

    def pause_writing(self) -> None:
        self._full = True
        if self._exchange is not None:
            self._deadline = _NEVER
            self._exchange.may_write(False)

    def resume_writing(self) -> None:
        self._full = False
        if self._exchange is not None:
            self._exchange.may_write(True)

    # -- requests ---------------------------------------------------------------------------

    def _run(self, data: bytes) -> None:
        """Serve what is there, one after the other, without recursion."""
        intake = self._intake
        self._running = True
        try:
            while (taken := intake.take(data)) is not None:
                head, body = taken
                self._hold(len(body) - self._held)
                self._serve(head, body)
                if self._state is not _READING or not intake.ahead:
                    break
                data = b""
            else:
                if intake.head is not None:
                    self._await_body(intake.head)
        except Refusal as refusal:
            self._refuse(refusal)
        finally:
            self._running = False

    def _await_body(self, head: Head) -> None:
        front, got = self._front, self._intake.got
        self._hold(got - self._held)
        if self._asked:
            return
        self._asked = True
        if front.held + head.length - got > front.limits.bodies:
            raise Refusal(503, "too many large requests at once")
        if head.expects and not got:
            self._transport.write(CONTINUE)

    def _hold(self, size: int) -> None:
        self._held += size
        front = self._front
        front.held += size
        if size > 0 and front.held > front.limits.bodies:
            raise Refusal(503, "too many large requests at once")

    def _serve(self, head: Head, body: bytes) -> None:
        front = self._front
        self._state = _ANSWERING
        self._asked = False
        self._deadline = _NEVER
        self._exchange = exchange = Exchange(
            Request(head.method, head.target, head.headers, body),
            front.loop.time(),
            self._transport,
            self._answered,
            writable=not self._full,
            closes=head.closes or front.draining,
            is_old=head.is_old,
        )
        try:
            front.accept(exchange)
        except Exception:
            log.exception("a request could not be accepted")
            exchange.reply(front.refuse(Refusal(500, "the request could not be served")))

    def _answered(self, closes: bool) -> None:
        self._release()
        self._exchange = None
        if closes or self._front.draining:
            self._close()
            return
        self._state = _READING
        self._deadline = _NEVER
        if not self._reads:
            self._reads = True
            self._transport.resume_reading()
        if self._intake.ahead and not self._running:
            self._run(b"")

    # -- the end ----------------------------------------------------------------------------

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, and let it be read before the connection goes: closing with unread bytes would
        reset it."""
        log.info("refused a request: %d %s", refusal.status, refusal.message)
        self._release()
        self._intake.clear()
        self._state = _CLOSING
        self._deadline = self._front.loop.time() + self._front.limits.linger_s
        reply = self._front.refuse(refusal)
        framing = b"content-length: %d\r\n" % len(reply.body) + CLOSE
        self._transport.write(render(reply.status, reply.headers, framing) + reply.body)
        self._transport.write_eof()

    def _close(self) -> None:
        self._state = _CLOSING
        self._deadline = _NEVER
        self._intake.clear()
        self._transport.close()

    def _lost(self) -> None:
        self._release()
        self._intake.clear()
        self._state = _CLOSING
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()

    def _release(self) -> None:
        self._front.held -= self._held
        self._held = 0

    # -- the server's calls -----------------------------------------------------------------

    def check(self, now: float) -> None:
        """Called every now and then: has anything taken too long?"""
        limits = self._front.limits
        if self._state is not _READING:
            waits = self._full or self._state is _CLOSING
            if waits and self._is_due(now, limits.write_stall_s):
                self._transport.abort()
        elif self._intake.is_idle:
            if self._is_due(now, limits.keep_alive_s):
                self._close()
        else:
            try:
                self._intake.check(now)
            except Refusal as refusal:
                self._refuse(refusal)

    def _is_due(self, now: float, seconds: float) -> bool:
        if self._deadline == _NEVER:
            self._deadline = now + seconds
        return now >= self._deadline

    def retire(self) -> None:
        """The server is shutting down: no further request."""
        if self._state is _READING and self._intake.is_idle:
            self._close()
        elif self._exchange is not None:
            self._exchange.closing()

    def kill(self) -> None:
        self._transport.abort()
