"""Exchanges put on record by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleet.proxy.recording import Recorder
from fleet.proxy.recording.playback import Head, Playback, Step
from fleet.proxy.wire import Headers, Outgoing, Sending, Sink
from tests.proxy.script.asking import Heard, ask, post

JSON = ((b"content-type", b"application/json"),)
ASKED = post("/v1/messages", {"model": "m", "messages": []})


class Staged:
    """An upstream that plays what it was given, one list of steps a call."""

    def __init__(self, *answers: Sequence[Step]) -> None:
        self.answers = [*answers]

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        playback = Playback(sink)
        playback.play(self.answers.pop(0))
        return playback


def whole(*pieces: bytes, status: int = 200, headers: Headers = JSON) -> list[Step]:
    return [Step(0, Head(status, headers)), *(Step(0, piece) for piece in pieces), Step(0, None)]


def record(
    folder: Path, *answers: Sequence[Step], asked: Sequence[Outgoing] | None = None
) -> list[Heard]:
    """Each answer to one call; all to the same question unless said."""
    taking = Recorder(Staged(*answers), folder)
    heard = ask(taking, *(asked or [ASKED] * len(answers)))
    taking.close()
    return heard


def same(left: Heard, right: Heard) -> bool:
    one, other = (
        (heard.status, heard.headers, heard.pieces, heard.failure) for heard in (left, right)
    )
    return one == other


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())
