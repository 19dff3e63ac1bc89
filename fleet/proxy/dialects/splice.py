"""Changes to one member of a JSON body that leave every other byte where it was.

Providers cache prompts by content and clients sign bodies, so what is passed on is the client's
own bytes but for the member in question. A body that names a member twice is written anew from
what we read of it: else we and the provider might not mean the same value.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from fleet.proxy.dialects.dialect import Members

_SPACE = b" \t\r\n"
_name = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class _Place:
    before: int  # where the text of the name starts
    value: int
    end: int


def with_member(body: bytes, members: Members, name: str, value: bytes) -> bytes:
    """`name` says `value`: put first if it was not there, else in its old place."""
    places = _places(body, members)
    if places is None:
        return _anew({**members, name: msgspec.Raw(value)})
    place = places.get(name)
    if place is not None:
        return b"".join((body[: place.value], value, body[place.end :]))
    first = body.index(b"{") + 1
    comma = b"," if members else b""
    return b"".join((body[:first], msgspec.json.encode(name), b":", value, comma, body[first:]))


def without_member(body: bytes, members: Members, name: str) -> bytes:
    """With the comma that joined it to its neighbour."""
    if name not in members:
        return body
    places = _places(body, members)
    if places is None:
        return _anew({key: value for key, value in members.items() if key != name})
    place = places[name]
    after = _skip(body, place.end)
    if body[after : after + 1] == b",":
        return body[: place.before] + body[_skip(body, after + 1) :]
    before = body.rindex(b"{" if len(places) == 1 else b",", 0, place.before)
    start = before + 1 if len(places) == 1 else before
    return body[:start] + body[place.end :]


def without_stream(body: bytes, members: Members) -> bytes:
    """Asks for one body: left out, every dialect reads it so."""
    return without_member(body, members, "stream")


def start_of(body: bytes, members: Members, name: str) -> int | None:
    """Where the value of a member begins; None if it is not there, or cannot be told for sure."""
    place = (_places(body, members) or {}).get(name)
    return place.value if place is not None else None


def _places(body: bytes, members: Members) -> dict[str, _Place] | None:
    """Where each member is; None if the text is not just these members, each once."""
    found: dict[str, _Place] = {}
    at = _skip(body, body.index(b"{") + 1)
    for name, raw in members.items():
        value = bytes(raw)
        start, at = at, _end_of_text(body, at)
        if at < 0 or _name.decode(body[start:at]) != name:
            return None
        begin = _skip(body, _skip(body, at) + 1)
        at = begin + len(value)
        if not body.startswith(value, begin):
            return None
        found[name] = _Place(start, begin, at)
        at = _skip(body, at)
        if body[at : at + 1] == b",":
            at = _skip(body, at + 1)
    return found if body[at : at + 1] == b"}" else None


def _end_of_text(body: bytes, start: int) -> int:
    if body[start : start + 1] != b'"':
        return -1
    at = start + 1
    while (char := body[at : at + 1]) not in (b'"', b""):
        at += 2 if char == b"\\" else 1
    return at + 1 if char else -1


def _skip(body: bytes, at: int) -> int:
    while at < len(body) and body[at] in _SPACE:
        at += 1
    return at


def _anew(members: Members) -> bytes:
    return msgspec.json.encode(dict(members))
