"""Which headers pass the proxy. Lists of what is taken out, never of what may pass: new headers
of providers and clients must work the day they appear."""

from __future__ import annotations

from fleet.proxy.wire import Headers, header

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key"})
_FORWARDING = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
        b"origin",
        b"referer",
    }
)
_FRAMING = frozenset({b"host", b"content-length", b"expect", b"accept-encoding"})
_TO_UPSTREAM = HOP_BY_HOP | CREDENTIALS | _FORWARDING | _FRAMING | {b"cookie"}
_TO_CLIENT = HOP_BY_HOP | {b"set-cookie", b"content-length", b"alt-svc"}
_OURS = b"x-fleet-"
IDENTITY = (b"accept-encoding", b"identity")  # what we read must not be compressed


def for_upstream(headers: Headers, *, login: bool) -> Headers:
    """What goes on to a provider. With `login` the client's own credentials do, too."""
    named = _nominated(headers)
    kept = [
        pair
        for pair in headers
        if pair[0] not in _TO_UPSTREAM and not pair[0].startswith(_OURS) and pair[0] not in named
    ]
    if login:
        kept += [pair for pair in headers if pair[0] in CREDENTIALS]
    kept.append(IDENTITY)
    return tuple(kept)


def for_client(headers: Headers) -> Headers:
    """What goes back to an agent; the framing is the server's."""
    kept = tuple(
        [pair for pair in headers if pair[0] not in _TO_CLIENT and not pair[0].startswith(_OURS)]
    )
    if len(kept) == len(headers) or not (named := _nominated(headers)):
        return kept
    return tuple(pair for pair in kept if pair[0] not in named)


def _nominated(headers: Headers) -> frozenset[bytes]:
    """Headers that `Connection` declares to be for one hop only."""
    said = header(headers, b"connection").lower()
    if said in (b"", b"keep-alive", b"close"):
        return frozenset()
    return frozenset(part.strip() for part in said.split(b","))
