"""Answers from a folder of recordings; the network is never asked.

The nth time something is asked it gets the nth answer recorded for it, and the last one from then
on. The files are found by their names; one is read, off the loop, when it is its turn.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.proxy.recording import shelf
from fleet.proxy.recording.exchange import Exchange, decode
from fleet.proxy.recording.likeness import digest as own_digest
from fleet.proxy.recording.playback import Head, Playback, Step
from fleet.proxy.recording.scrub import Redact, clean_request, keep_all, plain_target
from fleet.proxy.wire import Headers, Outgoing, Sending, Sink

Digest = Callable[[str, str, Headers, bytes], str]


class Replayer:
    """An `Upstream`. `speed`: 0 all at once, 1 as it was, 2 twice as fast.

    With a digest other than ours all files are read at once, to find out what it says of them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: float = 0.0,
        digest: Digest = own_digest,
        redact: Redact = keep_all,
    ) -> None:
        self._folder, self._speed, self._digest, self._redact = folder, speed, digest, redact
        self._places = _places(folder, digest)
        self._asked: Counter[str] = Counter()
        self.misses = 0

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        found = _digest_of(clean_request(outgoing, self._redact), self._digest)
        playback = Playback(sink)
        places = self._places.get(found)
        if places is None:
            self.misses += 1
            playback.play(_problem(404, "not_found_error", self._missing(outgoing, found)))
            return playback
        place = places[min(self._asked[found], len(places) - 1)]
        self._asked[found] += 1
        loading = asyncio.get_running_loop().run_in_executor(None, _steps, place, self._speed)
        loading.add_done_callback(lambda done: playback.play(done.result()))
        return playback

    def close(self) -> None:
        """Nothing is open; for symmetry with the recorder."""

    def _missing(self, outgoing: Outgoing, found: str) -> str:
        body = outgoing.body
        kept = sum(map(len, self._places.values()))
        return (
            f"no recording of {outgoing.method} {plain_target(outgoing.target)} with this body "
            f"({len(body):,} bytes, digest {found}) among {kept:,} in {self._folder.name}: "
            "record it, or ask as it was asked then"
        )


def _places(folder: Path, digest: Digest) -> dict[str, tuple[Path, ...]]:
    try:
        named = shelf.places(folder)
        if not named:
            raise FleetError(f"{folder}: no recordings here: make some with --record")
        if digest is own_digest:
            return named
        found: dict[str, tuple[Path, ...]] = {}
        for path in (path for places in named.values() for path in places):
            key = _digest_of(_read(path).request, digest)
            found[key] = (*found.get(key, ()), path)
    except OSError as error:
        raise FleetError(f"{folder}: recordings cannot be read: {error.strerror}") from error
    return found


def _digest_of(request: Outgoing, digest: Digest) -> str:
    return digest(request.method, request.target, request.headers, request.body)


def _read(path: Path) -> Exchange:
    try:
        return decode(path.read_bytes())
    except ValueError as error:
        raise FleetError(f"{path}: this recording is damaged ({error}): record it again") from error


def _steps(path: Path, speed: float) -> list[Step]:
    try:
        return _steps_of(_read(path), speed)
    except (OSError, FleetError) as error:
        return _problem(500, "api_error", str(error))


def _steps_of(exchange: Exchange, speed: float) -> list[Step]:
    timed: list[tuple[float, Head | bytes]] = []
    if exchange.status:
        timed.append((exchange.head_at_s, Head(exchange.status, exchange.headers)))
    timed += [(piece.at_s, piece.data) for piece in exchange.pieces]
    times = [0.0, *(at for at, _ in timed), exchange.end_at_s]
    parts = [*(part for _, part in timed), exchange.failure]
    waits = [
        max(0.0, after - before) / speed if speed else 0.0 for before, after in pairwise(times)
    ]
    return [Step(wait, part) for wait, part in zip(waits, parts, strict=True)]


def _problem(status: int, kind: str, message: str) -> list[Step]:
    """In words that clients of every provider can read."""
    error = {"type": kind, "code": status, "message": message}
    body = json.dumps({"type": "error", "error": error}).encode()
    headers = ((b"content-type", b"application/json"), (b"x-should-retry", b"false"))
    return [Step(0.0, Head(status, headers)), Step(0.0, body), Step(0.0, None)]
