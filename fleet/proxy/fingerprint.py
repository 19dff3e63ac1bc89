"""Which requests are the same request: what was seen of their bodies, and the key they share.

A body that comes again costs one hash of it; the rest is remembered. Nothing of a body itself is
kept. What of a body counts is `digest`'s to say; of the headers only those named here do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from fleet.proxy.dialects.dialect import Asked, Dialect, Endpoint, Members
from fleet.proxy.digest import digests, members_of
from fleet.proxy.wire import Headers

# endpoint, upstream, model, scope, headers that change answers, query, digest of the body
Key = tuple[Endpoint, str, str, bytes, Headers, str, bytes]

LARGEST = 8 << 20  # bytes; a longer body is looked at, but shares nothing
TELLING = frozenset(
    {
        b"anthropic-version",
        b"anthropic-beta",
        b"openai-beta",
        b"openai-organization",
        b"openai-project",
    }
)
_CACHING = frozenset({Endpoint.MESSAGES, Endpoint.CHAT})  # where a provider keeps prefixes
_MOST_HEADERS = 256  # sets of them remembered; real clients send a handful
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a body."""

    asked: Asked
    digest: bytes = b""
    prefix: bytes = b""  # the digest of its cacheable prefix, if that is marked and long enough
    reason: str = ""  # why it shares no answer; "" when it may
    tools: bool = False  # it offers the model some


_Known = tuple[str, str, Dialect, Seen]  # where it was seen, and what


class Fingerprints:
    """Remembers up to twice so many bodies as `entries` says, those seen last."""

    def __init__(self, *, entries: int = 2048, largest: int = LARGEST) -> None:
        self._entries = entries
        self._largest = largest
        self._young: dict[bytes, _Known] = {}  # by the SHA-256 of the whole body
        self._old: dict[bytes, _Known] = {}
        self._headers: dict[Headers, Headers] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def look(self, dialect: Dialect, path: str, query: str, body: bytes) -> Seen:
        if len(body) > self._largest:
            asked = dialect.ask(path, query, members_of(body) or _legible(body) or {})
            return Seen(asked, reason="large")
        whole = sha256(body).digest()
        known = self._young.get(whole)
        if known is None:
            known = self._old.pop(whole, None)
            if known is not None:
                self._keep(whole, known)
        if known is not None and known[0] == path and known[1] == query and known[2] is dialect:
            return known[3]
        seen = _look(dialect, path, query, body)
        self._keep(whole, (path, query, dialect, seen))
        return seen

    def _keep(self, whole: bytes, known: _Known) -> None:
        if len(self._young) >= self._entries:
            self._old, self._young = self._young, {}
        self._young[whole] = known

    def key(
        self,
        seen: Seen,
        *,
        upstream: str,
        scope: bytes,
        headers: Headers,
        query: str,
        model: str | None = None,
    ) -> Key:
        """`model`: the one that was chosen, if that is not the one asked for."""
        asked = seen.asked
        said = tuple([pair for pair in headers if pair[0] in TELLING])
        telling = self._headers.get(said)
        if telling is None:
            telling = self._put_in_order(said)
        chosen = asked.model if model is None else model
        return (asked.endpoint, upstream, chosen, scope, telling, query, seen.digest)

    def _put_in_order(self, said: Headers) -> Headers:
        if len(self._headers) >= _MOST_HEADERS:
            self._headers.clear()
        ordered = self._headers[said] = in_order(said)
        return ordered


def in_order(headers: Headers) -> Headers:
    """By name, with the betas as the set that they are."""
    betas: set[bytes] = set()
    for name, value in headers:
        if name == b"anthropic-beta":
            betas.update(filter(None, map(bytes.strip, value.split(b","))))
    others = [pair for pair in headers if pair[0] != b"anthropic-beta"]
    others += [(b"anthropic-beta", beta) for beta in sorted(betas)]
    return tuple(sorted(others, key=lambda pair: pair[0]))


def _look(dialect: Dialect, path: str, query: str, body: bytes) -> Seen:
    members = members_of(body)
    place = path.rpartition(":")[0] or path  # Gemini's last word says how the answer is to be sent
    if members is None:
        members = _legible(body)
        if members is None:
            return Seen(dialect.ask(path, query, {}), reason="not-json")
        asked = dialect.ask(path, query, members)
        found = digests(dialect.name, place, body, {}, has_prefix=False)
        return Seen(asked, *found, tools=offers_tools(members))
    asked = dialect.ask(path, query, members)
    has_prefix = asked.endpoint in _CACHING
    found = digests(dialect.name, place, body, members, has_prefix=has_prefix)
    return Seen(asked, *found, tools=offers_tools(members))


def offers_tools(members: Members) -> bool:
    return len(members.get("tools", b"")) > len(b"null")


def _legible(body: bytes) -> Members | None:
    """To see what is asked in a body with half a surrogate pair: JSON, but not to our reader.
    Clients write it where they cut a text within an emoji. Its texts are not what was sent."""
    copy, halves = _SURROGATE.subn(rb"\\ufffd", body)
    return members_of(copy) if halves else None
