"""Whose request this is: from a token to the attempt that was given it, and the notes for it.

The loop asks a dictionary. A thread with a read-only connection of its own keeps that dictionary
as new as the ledger, so SQLite never blocks the loop. A token the dictionary does not know yet is
looked for at once, but not more often than the thread allows: guessing costs us nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVarTuple

from fleet.core.caller import Caller
from fleet.core.note import Via
from fleet.proxy.headers import CREDENTIALS
from fleet.proxy.wire import Headers
from fleet.store.controls import Controls
from fleet.store.database import Database
from fleet.store.notes import of_live_attempts
from fleet.store.tokens import digest, live

POLL_S = 0.05
SHORTEST_S = 0.01  # between two looks, however many ask
LONGEST_TOKEN = 256
PREFIX = "/a/"

Ended = tuple[Caller, ...]
Snapshot = dict[str, Caller]
Told = TypeVarTuple("Told")


class Callers:
    """Who may send requests now. Used from one event loop; `start` first, `close` last.

    `on_change` is told, in the loop, of callers that are none any more; `on_run` of when the run
    began that is under way, or was last; `on_error` of the ledger
    becoming unreadable, after which nobody is let in.
    """

    def __init__(
        self,
        database: Path,
        *,
        on_change: Callable[[Ended], None] = lambda _: None,
        on_run: Callable[[float], None] = lambda _: None,
        on_error: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._on_change = on_change
        self._on_run = on_run
        self._on_error = on_error
        self._by_hash: Snapshot = {}
        self._by_token: dict[bytes, Caller] = {}
        self._asked = threading.Event()
        self._next = self._current = asyncio.Event()  # set after the look to come, the one at work
        self._closed = self._started = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Until the ledger has been read once. Raises what kept it from being read."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="callers", daemon=True)
        self._thread.start()
        await self._look()
        if self._error is not None:
            self.close()
            raise self._error
        self._started = True

    def close(self) -> None:
        self._closed = True
        self._asked.set()
        if self._thread is not None:
            self._thread.join()

    def live(self) -> tuple[Caller, ...]:
        return tuple(self._by_hash.values())

    def find(self, token: bytes) -> Caller | None:
        """The bearer of a token that is known to live."""
        known = self._by_token.get(token)
        if known is None and 0 < len(token) <= LONGEST_TOKEN:
            known = self._by_hash.get(digest(token))
            if known is not None:  # guesses are not remembered
                self._by_token[token] = known
        return known

    async def refresh(self, token: bytes) -> Caller | None:
        """As `find`, after a look at the ledger that began after the call."""
        if 0 < len(token) <= LONGEST_TOKEN:
            await self._look()
        return self.find(token)

    async def _look(self) -> None:
        looked = self._next
        self._asked.set()
        await looked.wait()

    # -- in the loop, called by the thread ---------------------------------------------------

    def _take(self, callers: Snapshot) -> None:
        before, self._by_hash = self._by_hash, callers
        self._by_token.clear()
        ended = tuple(caller for hash_, caller in before.items() if hash_ not in callers)
        if ended:
            self._on_change(ended)

    def _take_run(self, began: float) -> None:
        self._on_run(began)

    def _end(self, error: Exception | None) -> None:
        if error is not None:
            self._error = error
            self._take({})
            if self._started:
                self._on_error(error)
        self._current.set()
        self._next.set()  # and stays: there will be no other look

    # -- in the thread -----------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        error: Exception | None = None
        try:
            db = Database(self._database, read_only=True)
            try:
                self._follow(db, loop)
            finally:
                db.close()
        except Exception as caught:  # whatever it is, the loop must hear of it
            error = caught
        _post(loop, self._end, error)

    def _follow(self, db: Database, loop: asyncio.AbstractEventLoop) -> None:
        version, known, began_run = -1, Snapshot(), -1.0
        while not self._closed:
            asked = self._asked.wait(POLL_S)
            if asked:
                # Whoever asks from here on waits for the next look: this one is too old for him.
                self._asked.clear()
                self._current, self._next = self._next, asyncio.Event()
            began, seen = time.monotonic(), db.version()
            if seen != version:
                version, callers = seen, _snapshot(db)
                run = run_began(db)
                if run != began_run:
                    began_run = run
                    _post(loop, self._take_run, run)
                if callers != known:
                    known = callers
                    _post(loop, self._take, callers)
            if asked:
                _post(loop, self._current.set)
                threading.Event().wait(max(0.0, SHORTEST_S - (time.monotonic() - began)))


def run_began(db: Database) -> float:
    """POSIX s; 0.0 where no run ever did."""
    return float(Controls(db).get("run-began") or 0.0)


def _snapshot(db: Database) -> Snapshot:
    callers, notes = {caller.hash: caller for caller in live(db)}, of_live_attempts(db, Via.PROXY)
    if notes:
        callers = {
            hash_: replace(caller, notes=notes.get(caller.key, ()))
            for hash_, caller in callers.items()
        }
    return callers


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[*Told], object], *told: *Told) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
        loop.call_soon_threadsafe(call, *told)


def credentials(headers: Headers, target: str) -> tuple[bytes, str, bool]:
    """The token of a request, its target without it, and whether it brings a login of its own.

    A token in the path (`/a/<token>/…`) leaves the usual places free: what else than the token is
    there is the login a client has with its provider. Anywhere else a credential is the token.
    """
    shown = [
        _bare(value) if name == b"authorization" else value.strip()
        for name, value in headers
        if name in CREDENTIALS
    ]
    if target.startswith(PREFIX):
        token, rest = _from_path(target)
        return _beside(token, shown, rest)
    if "key=" in target:
        keys, target = _take_keys(target)
        shown += keys
    return next(filter(None, shown), b""), target, False


def _beside(token: bytes, shown: list[bytes], target: str) -> tuple[bytes, str, bool]:
    """With the token in the path. A client that shows the token elsewhere, too, has no login."""
    keys, without = _take_keys(target) if "key=" in target else ([], target)
    if token in shown or token in keys or not (any(keys) or any(shown)):
        return token, without, False
    return token, target, True


def _from_path(target: str) -> tuple[bytes, str]:
    slash, query = target.find("/", len(PREFIX)), target.find("?")
    if slash < 0 or 0 <= query < slash:
        end = query if query >= 0 else len(target)
        return target[len(PREFIX) : end].encode(), f"/{target[end:]}"
    return target[len(PREFIX) : slash].encode(), target[slash:]


def _bare(value: bytes) -> bytes:
    """The token after `Bearer`."""
    if value.startswith(b"Bearer "):
        return value[7:].strip()
    scheme, _, token = value.strip().partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else value


def without_key(target: str) -> str:
    return _take_keys(target)[1] if "key=" in target else target


def _take_keys(target: str) -> tuple[list[bytes], str]:
    """`?key=` as Gemini's clients send it, and the target without it."""
    path, _, query = target.partition("?")
    parts = query.split("&")
    keys = [part[4:].encode() for part in parts if part.startswith("key=")]
    if not keys:
        return [], target
    rest = "&".join(part for part in parts if not part.startswith("key="))
    return keys, f"{path}?{rest}" if rest else path
