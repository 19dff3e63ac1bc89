"""A conversation as one request tells it, and the same one with notes of the user's in it. Pure.

Nothing is changed or taken away: bytes are inserted between the client's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256

import msgspec

from fleet.proxy.dialects import lenient
from fleet.proxy.dialects.dialect import DialectName, Endpoint, Members
from fleet.proxy.dialects.note_forms import FORMS, Insertion, Side, block, listed, past_space
from fleet.proxy.dialects.splice import start_of

CONVERSATIONS = frozenset({Endpoint.MESSAGES, Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.GENERATE})
_OPENING = (
    "[A note from the user of this fleet, sent while you are at work. It is part of your task: "
    "follow it from here on.]"
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")  # of a surrogate pair
_WHOLE = rb"\\ufffd"

_items = msgspec.json.Decoder(list[msgspec.Raw])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def worded(text: str) -> str:
    """What the model reads: always the same for the same note."""
    return f"{_OPENING}\n\n{text}"


class Talk:
    """The messages of one request. What cannot be read raises ValueError wherever it is met."""

    def __init__(self, dialect: DialectName, body: bytes) -> None:
        form = self._form = FORMS[dialect]
        self._body = body
        self._text, members = _legible(body)
        start = start_of(self._text, members, form.member)
        if start is None:
            raise ValueError("no conversation")
        value = lenient.raw(members, form.member)
        self._is_bare = dialect is DialectName.RESPONSES and value.startswith(b'"')
        if self._is_bare:  # one message, and nothing but its text
            self._spans = [(start, start + len(value))]
        else:
            self._spans = _spans(value, start)
        self._likenesses: dict[int, bytes] = {}
        self.offers_tools = len(members.get("tools", b"")) > len(b"null")
        self.goes_on = lenient.given(members, "previous_response_id") or lenient.given(
            members, "conversation"
        )  # what was said before is at the provider, notes included

    def last_user_turn(self) -> int | None:
        """The last message of it."""
        places = range(len(self._spans) - 1, -1, -1)
        return next((place for place in places if self._is_users(place)), None)

    def likeness(self, place: int) -> bytes:
        """Tells a user's message from others: by how the conversation began, and by what it says
        itself. b"" if it is none of the user's. What clients change about a message from one
        request to the next does not count: cache marks, ids, and whether a text is in a list."""
        known = self._likenesses.get(place)
        if known is None:
            is_users = place < len(self._spans) and self._is_users(place)
            known = sha256(self._beginning + self._said(place)).digest() if is_users else b""
            self._likenesses[place] = known
        return known

    def with_notes(self, notes: Mapping[int, Sequence[str]]) -> bytes:
        """The body with these texts, in their order, in or after the messages at these places."""
        texts: dict[int, list[str]] = {}
        for place, more in sorted(notes.items()):
            texts.setdefault(self._past_results(place), []).extend(more)
        pieces, done = list[bytes](), 0
        for place in sorted(texts):
            for at, inserted in self._insertions(place, texts[place]):
                pieces += self._body[done:at], inserted
                done = at
        return b"".join((*pieces, self._body[done:]))

    @cached_property
    def _beginning(self) -> bytes:
        """A digest of the user's first message."""
        first = next(place for place in range(len(self._spans)) if self._is_users(place))
        return sha256(self._said(first)).digest()

    def _item(self, place: int) -> bytes:
        start, end = self._spans[place]
        return self._text[start:end]

    def _side(self, place: int) -> Side:
        return Side.USER if self._is_bare else self._form.side(self._item(place))

    def _is_users(self, place: int) -> bool:
        return self._side(place) is not Side.OTHER

    def _past_results(self, place: int) -> int:
        """Results of one turn's tools may not be parted."""
        if self._side(place) is Side.RESULTS:
            while place + 1 < len(self._spans) and self._side(place + 1) is Side.RESULTS:
                place += 1
        return place

    def _insertions(self, place: int, texts: Sequence[str]) -> list[Insertion]:
        start, end = self._spans[place]
        if self._side(place) is Side.USER:
            found = self._form.within(self._item(place), texts)
            if found is not None:
                return [(start + at, inserted) for at, inserted in found]
        messages = listed([self._form.message(text) for text in texts])
        if self._is_bare:
            return [(start, b'[{"role":"user","content":'), (end, b"},%b]" % messages)]
        return [(end, b"," + messages)]

    def _said(self, place: int) -> bytes:
        start, end = self._spans[place]
        item = self._body[start:end]
        told = {"role": "user", "content": lenient.loads(item)} if self._is_bare else None
        return _without_marks(told or lenient.members_of(item) or {})


def _legible(body: bytes) -> tuple[bytes, Members]:
    """A text that our reader takes, as long as the body to the byte, and its members. Clients that
    cut a text within an emoji write half a surrogate pair, which is JSON to everybody else."""
    try:
        return body, _members.decode(body)
    except ValueError:
        copy = _HALF.sub(_WHOLE, body)
        return copy, _members.decode(copy)


def _spans(value: bytes, start: int) -> list[tuple[int, int]]:
    """Where each item of a list lies; `start` is where the list does."""
    at, spans = 1, list[tuple[int, int]]()
    for item in _items.decode(value):
        begin = past_space(value, at)
        end = begin + len(item)
        spans.append((start + begin, start + end))
        at = past_space(value, end) + 1  # and past the comma
    return spans


def _without_marks(told: lenient.Object) -> bytes:
    content = told.get("content")
    if isinstance(content, str):
        content = [block(content)]
    blocks = [_unmarked(lenient.obj(block)) for block in lenient.arr(content)]
    rest = {name: value for name, value in told.items() if name not in ("content", "type")}
    return lenient.dumps([_unmarked(rest), blocks])


def _unmarked(told: lenient.Object) -> lenient.Object:
    return {name: value for name, value in told.items() if name not in ("cache_control", "id")}
