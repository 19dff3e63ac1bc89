"""How an answer comes: when each piece of it does, and where it breaks. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from fleet.proxy.recording.playback import Head, Step
from fleet.proxy.script.rules import Answer, Cut
from fleet.proxy.script.speech import Voice
from fleet.proxy.wire import Failure, Fault, Headers

GARBAGE = b"\x00\xff<html>data: {\xc3\x28 this is neither JSON nor an event\r\r"
_JSON = (b"content-type", b"application/json")
_EVENTS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    pieces: list[bytes]
    status: int = 200
    stream: bool = False
    headers: Headers = ()


def refused(answer: Answer, voice: Voice, request_id: str) -> Reply:
    message = answer.message or f"the script says {answer.error}"
    headers: Headers = ()
    if answer.retry_after_s:
        headers = ((b"retry-after", b"%d" % math.ceil(answer.retry_after_s)),)
        if not answer.retry_after_s.is_integer():  # the SDKs look here first
            headers += ((b"retry-after-ms", b"%d" % round(answer.retry_after_s * 1000)),)
    body = voice.error(answer.error, answer.error_type, message, request_id)
    return Reply(pieces=[body], status=answer.error, headers=headers)


def staged(answer: Answer, reply: Reply, request_id: str) -> list[Step]:
    if answer.cut is Cut.BEFORE:
        return [Step(answer.delay_s, _reset(answered=False))]
    named = tuple((name, request_id.encode()) for name in (b"request-id", b"x-request-id"))
    headers = (*(_EVENTS if reply.stream else (_JSON,)), *named, *reply.headers)
    head = Step(answer.delay_s, Head(reply.status, headers))
    if answer.cut is Cut.AFTER_HEADERS:
        return [head, Step(answer.stall_s, _reset(answered=True))]
    return [head, *_body(answer, [GARBAGE] if answer.garbage else reply.pieces)]


def _body(answer: Answer, pieces: list[bytes]) -> list[Step]:
    """A stall or a cut comes when half of it, with something of what is said, has gone out."""
    disturbed = answer.stall_s > 0 or answer.cut is Cut.MIDWAY
    if disturbed and len(pieces) == 1:
        pieces = _halves(pieces[0])
    half = (len(pieces) + 1) // 2
    steps = [
        Step(_wait(answer, at, half if answer.cut is Cut.NEVER else -1), piece)
        for at, piece in enumerate(pieces)
    ]
    if answer.cut is not Cut.MIDWAY:
        return [*steps, Step(0.0, None)]
    torn = _halves(pieces[half])[0] if half < len(pieces) else b""
    tail = [Step(answer.pace_s, torn)] if torn else []
    return [*steps[:half], *tail, Step(answer.stall_s, _reset(answered=True))]


def _wait(answer: Answer, at: int, stalled: int) -> float:
    return (answer.pace_s if at else 0.0) + (answer.stall_s if at == stalled else 0.0)


def _halves(data: bytes) -> list[bytes]:
    middle = (len(data) + 1) // 2
    return [data[start:end] for start, end in pairwise((0, middle, len(data))) if end > start]


def _reset(*, answered: bool) -> Failure:
    return Failure(Fault.RESET, "the script cuts the connection here", answered=answered)
