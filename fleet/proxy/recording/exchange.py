"""One recorded exchange, and the file that holds it: JSON a person can read. Pure.

Bytes are kept as text where they are UTF-8, else as base64. Times are seconds since the request.
A failure is part of the record: what broke then breaks again when it is replayed.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from fleet.proxy.dialects.lenient import Object, arr, obj, text
from fleet.proxy.wire import Failure, Fault, Headers, Outgoing

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Piece:
    at_s: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    request: Outgoing
    status: int = 0  # 0: no answer began
    headers: Headers = ()
    head_at_s: float = 0.0
    pieces: tuple[Piece, ...] = ()
    failure: Failure | None = None  # None: the answer is whole
    end_at_s: float = 0.0


def encode(exchange: Exchange) -> bytes:
    request, failure = exchange.request, exchange.failure
    value = {
        "format": FORMAT,
        "request": {
            "method": request.method,
            "target": request.target,
            "headers": _pairs(request.headers),
            "body": _kept(request.body),
        },
        "answer": {
            "status": exchange.status,
            "at": _rounded(exchange.head_at_s),
            "headers": _pairs(exchange.headers),
            "pieces": [
                {"at": _rounded(piece.at_s), "data": _kept(piece.data)} for piece in exchange.pieces
            ],
        },
        "end": {"at": _rounded(exchange.end_at_s), "failure": _told(failure)},
    }
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def decode(raw: bytes) -> Exchange:
    """ValueError if this is no recording of ours."""
    try:
        return _decoded(json.loads(raw))
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"not a recording: {error}") from error


def _decoded(value: object) -> Exchange:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ValueError("not a recording of this format")
    request, answer, end = (obj(value.get(name)) for name in ("request", "answer", "end"))
    exchange = Exchange(
        request=Outgoing(
            text(request.get("method")),
            text(request.get("target")),
            _headers(request.get("headers")),
            _bytes(request.get("body")),
        ),
        status=int(_seconds(answer.get("status"))),
        headers=_headers(answer.get("headers")),
        head_at_s=_seconds(answer.get("at")),
        pieces=tuple(
            Piece(_seconds(obj(piece).get("at")), _bytes(obj(piece).get("data")))
            for piece in arr(answer.get("pieces"))
        ),
        failure=_failure(end.get("failure")),
        end_at_s=_seconds(end.get("at")),
    )
    if not exchange.status and exchange.failure is None:
        raise ValueError("neither an answer nor a failure")
    return exchange


def _told(failure: Failure | None) -> Object | None:
    if failure is None:
        return None
    return {
        "fault": failure.fault.value,
        "detail": failure.detail,
        "answered": failure.answered,
        "reused": failure.reused,
    }


def _failure(value: object) -> Failure | None:
    told = obj(value)
    if not told:
        return None
    return Failure(
        Fault(text(told.get("fault"))),
        text(told.get("detail")),
        answered=told.get("answered") is True,
        reused=told.get("reused") is True,
    )


def _kept(data: bytes) -> object:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(text(obj(value).get("base64")), validate=True)


def _pairs(headers: Headers) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def _headers(value: object) -> Headers:
    pairs = (arr(pair) for pair in arr(value))
    return tuple(
        (text(pair[0]).encode("latin-1"), text(pair[1]).encode("latin-1"))
        for pair in pairs
        if len(pair) == 2
    )


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
