"""Nothing secret reaches a recording. Pure.

Headers that carry credentials are left out. Their values, tokens in a path and keys in a query are
taken out wherever else they stand, bodies included; so is what `redact` knows. A secret that a
model spells out over several events is not found: nowhere does it stand in one piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from fleet.proxy.headers import CREDENTIALS
from fleet.proxy.recording.exchange import Exchange, Piece
from fleet.proxy.wire import Headers, Outgoing

Redact = Callable[[bytes], bytes]

REMOVED = b"[removed]"
SHORTEST_SECRET = 8  # shorter ones would be found in innocent text
_SECRET_HEADERS = CREDENTIALS | {b"cookie", b"set-cookie"}
_TOKEN = re.compile(r"^/a/([^/?]+)(?=/|\?|$)")
_KEY = re.compile(r"(?<=[?&])((?:api_?key|access_token|key|token)=)([^&#]*)", re.IGNORECASE)


def keep_all(data: bytes) -> bytes:
    """For those who know of no secrets."""
    return data


def plain_target(target: str) -> str:
    """A target without the token in its path and the keys in its query."""
    return _KEY.sub(rf"\1{REMOVED.decode()}", _TOKEN.sub("", target))


def clean_request(request: Outgoing, redact: Redact) -> Outgoing:
    secrets = _secrets_of(request)

    def clean(data: bytes) -> bytes:
        return redact(_without(data, secrets))

    return Outgoing(
        request.method,
        clean(_hidden(request.target).encode("utf-8", "surrogateescape")).decode(
            "utf-8", "surrogateescape"
        ),
        _clean_headers(request.headers, clean),
        clean(request.body),
    )


def clean_exchange(exchange: Exchange, redact: Redact) -> Exchange:
    secrets = _secrets_of(exchange.request)

    def clean(data: bytes) -> bytes:
        return redact(_without(data, secrets))

    failure = exchange.failure
    if failure is not None:
        detail = clean(failure.detail.encode("utf-8", "replace")).decode("utf-8", "replace")
        failure = replace(failure, detail=detail)
    return replace(
        exchange,
        request=clean_request(exchange.request, redact),
        headers=_clean_headers(exchange.headers, clean),
        pieces=_clean_pieces(exchange.pieces, clean),
        failure=failure,
    )


def _clean_pieces(pieces: tuple[Piece, ...], clean: Redact) -> tuple[Piece, ...]:
    """Piece by piece, unless a secret lies across two of them: then they become one."""
    whole = clean(b"".join(piece.data for piece in pieces))
    each = tuple(replace(piece, data=clean(piece.data)) for piece in pieces)
    if b"".join(piece.data for piece in each) == whole:
        return each
    return (Piece(pieces[0].at_s, whole),)


def _clean_headers(headers: Headers, clean: Redact) -> Headers:
    return tuple((name, clean(value)) for name, value in headers if not _is_secret(name))


def _is_secret(name: bytes) -> bool:
    name = name.lower()
    return name in _SECRET_HEADERS or name.startswith(b"proxy-")


def _hidden(target: str) -> str:
    shown = _TOKEN.sub(f"/a/{REMOVED.decode()}", target)
    return _KEY.sub(rf"\1{REMOVED.decode()}", shown)


def _secrets_of(request: Outgoing) -> tuple[bytes, ...]:
    """The longest first, so that none leaves a part of another behind."""
    found = {value for name, value in request.headers if name.lower() in CREDENTIALS}
    found |= {value.partition(b" ")[2].strip() for value in found}
    token = _TOKEN.match(request.target)
    found |= {token[1].encode()} if token else set()
    found |= {key[2].encode() for key in _KEY.finditer(request.target)}
    return tuple(sorted((s for s in found if len(s) >= SHORTEST_SECRET), key=len, reverse=True))


def _without(data: bytes, secrets: Iterable[bytes]) -> bytes:
    for secret in secrets:
        data = data.replace(secret, REMOVED)
    return data
