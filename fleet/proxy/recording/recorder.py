"""Keeps every exchange with an upstream in a folder, one file each.

The loop only notes what passes; a thread takes the secrets out and writes. A file is there whole
or not at all, for its owner's eyes, and named by what was asked and how often it had been asked
before. A call that its client gave up is kept as one that broke.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import Counter
from pathlib import Path

from fleet.core.errors import StorageError
from fleet.proxy.recording import shelf
from fleet.proxy.recording.exchange import Exchange, Piece, encode
from fleet.proxy.recording.likeness import digest
from fleet.proxy.recording.scrub import Redact, clean_exchange, clean_request, keep_all
from fleet.proxy.wire import Failure, Fault, Headers, Outgoing, Sending, Sink, Upstream
from fleet.store.files import write_private

log = logging.getLogger(__name__)

WAITING_BYTES = 256 << 20  # of answers that are over and not written: the disk cannot keep up


class Recorder:
    """An `Upstream`. `redact` is called from a thread. `close` when no call is under way."""

    def __init__(self, upstream: Upstream, folder: Path, *, redact: Redact = keep_all) -> None:
        self._upstream = upstream
        self._writer = _Writer(folder, redact)
        self._calls = 0

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        self._calls += 1
        self._writer.asked(self._calls, outgoing)
        listener = _Listener(self._calls, outgoing, sink, self._writer)
        listener.sending = self._upstream.send(outgoing, listener)
        return listener

    def close(self) -> None:
        """Waits until everything is on disk; StorageError if something is not."""
        self._writer.close()


class _Writer:
    """The thread and what it is told. It starts with the first call."""

    def __init__(self, folder: Path, redact: Redact) -> None:
        self._folder, self._redact = folder, redact
        self._queue: queue.SimpleQueue[tuple[int, Outgoing | Exchange] | None] = queue.SimpleQueue()
        self._handed = self._written = 0  # bytes; the loop counts one, the thread the other
        self._thread: threading.Thread | None = None
        self._closed = False
        self._error: Exception | None = None
        self._places: dict[int, str] = {}
        self._asked: Counter[str] = Counter()

    def asked(self, call: int, outgoing: Outgoing) -> None:
        """Told in the order of the calls, which is the order they are replayed in."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        self._queue.put((call, outgoing))

    def over(self, call: int, exchange: Exchange) -> None:
        size = _size(exchange)
        if self._handed - self._written + size > WAITING_BYTES:
            self._fail(StorageError(f"{self._folder}: recording falls behind: an answer is lost"))
            return
        self._handed += size
        self._queue.put((call, exchange))

    def close(self) -> None:
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        self._asked.update(shelf.counts(self._folder))
        while (told := self._queue.get()) is not None:
            call, what = told
            try:
                if isinstance(what, Exchange):
                    self._written += _size(what)
                    cleaned = clean_exchange(what, self._redact)
                    write_private(self._folder / self._places.pop(call), encode(cleaned))
                else:
                    self._places[call] = self._place(what)
            except Exception as error:  # whatever it is, the next exchange must be written
                self._fail(error)

    def _place(self, outgoing: Outgoing) -> str:
        asked = clean_request(outgoing, self._redact)
        found = digest(asked.method, asked.target, asked.headers, asked.body)
        self._asked[found] += 1
        return shelf.name(found, self._asked[found])

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            log.error("an exchange could not be recorded: %s", error)
            self._error = error


def _size(exchange: Exchange) -> int:
    return len(exchange.request.body) + sum(len(piece.data) for piece in exchange.pieces)


class _Listener:
    """Sink and sending at once: passes everything on, and notes when it came."""

    __slots__ = (
        "_began",
        "_call",
        "_clock",
        "_head_at",
        "_headers",
        "_outgoing",
        "_over",
        "_pieces",
        "_sink",
        "_status",
        "_writer",
        "sending",
    )

    def __init__(self, call: int, outgoing: Outgoing, sink: Sink, writer: _Writer) -> None:
        self._call, self._outgoing, self._sink, self._writer = call, outgoing, sink, writer
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._status, self._head_at = 0, 0.0
        self._headers: Headers = ()
        self._pieces: list[Piece] = []
        self._over = False
        self.sending: Sending | None = None

    def head(self, status: int, headers: Headers) -> None:
        self._status, self._headers, self._head_at = status, headers, self._clock() - self._began
        self._sink.head(status, headers)

    def data(self, data: bytes) -> None:
        self._pieces.append(Piece(self._clock() - self._began, data))
        self._sink.data(data)

    def end(self) -> None:
        self._note(None)
        self._sink.end()

    def failed(self, failure: Failure) -> None:
        self._note(failure)
        self._sink.failed(failure)

    def cancel(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
        self._note(Failure(Fault.RESET, "the client gave up", answered=self._status > 0))

    def pause(self) -> None:
        if self.sending is not None:
            self.sending.pause()

    def resume(self) -> None:
        if self.sending is not None:
            self.sending.resume()

    def _note(self, failure: Failure | None) -> None:
        if self._over:
            return
        self._over = True
        exchange = Exchange(
            request=self._outgoing,
            status=self._status,
            headers=self._headers,
            head_at_s=self._head_at,
            pieces=tuple(self._pieces),
            failure=failure,
            end_at_s=self._clock() - self._began,
        )
        self._writer.over(self._call, exchange)
