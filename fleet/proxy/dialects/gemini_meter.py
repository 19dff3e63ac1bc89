"""Reads a Gemini answer as it passes: what each chunk is, how it ended, what it used.

There is no terminal event: an answer has ended when every candidate has a reason to, or the prompt
was blocked, and the stream may still add a chunk. Usage comes with every chunk; the last wins.
"""

from __future__ import annotations

import msgspec

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects.dialect import Asked, Endpoint, Sort
from fleet.proxy.dialects.lenient import (
    CHARS_A_TOKEN,
    Object,
    arr,
    count,
    index,
    loads,
    members_of,
    obj,
    text,
)
from fleet.proxy.sse import data_of, name_of

_PREAMBLE, _CONTENT = Sort.PREAMBLE, Sort.CONTENT  # reading an enum's member is slow in 3.11

# The shape of a plain piece of text. What has more to say (an end, a call, an error, several
# candidates) does not fit, and is read the slow way.


_NO_USAGE = msgspec.Raw()


class _Part(msgspec.Struct, gc=False):
    text: str


class _Content(msgspec.Struct, gc=False):
    parts: tuple[_Part]


class _Candidate(msgspec.Struct, gc=False):
    content: _Content
    finishReason: None = None  # noqa: N815  as it is spelled there
    index: int = 0


class _Chunk(msgspec.Struct, gc=False):
    candidates: tuple[_Candidate]
    usageMetadata: msgspec.Raw = _NO_USAGE  # noqa: N815
    error: None = None


_plain = msgspec.json.Decoder(_Chunk).decode


class GeminiMeter:
    __slots__ = (
        "_billed",
        "_blocked",
        "_candidates",
        "_chars",
        "_committed",
        "_counts",
        "_last",
        "_read",
    )

    def __init__(self, asked: Asked) -> None:
        self._billed = asked.endpoint not in (Endpoint.COUNT_TOKENS, Endpoint.MODELS)
        self._blocked = False
        self._candidates: dict[int, str] = {}  # why each of them ended; "" while it goes on
        self._chars = 0  # of text and arguments that were seen
        self._committed = False
        self._counts: Object = {}
        self._last = _NO_USAGE  # of the last plain piece: it repeats what others said before
        self._read = False  # a body in one piece

    @property
    def usage(self) -> Usage:
        counts = self._told()
        if not self._billed or not (counts or self._chars):
            return NOTHING
        final = bool(counts) and self.ended
        given = count(counts.get("promptTokenCount"))
        read = min(count(counts.get("cachedContentTokenCount")), given)
        thoughts = count(counts.get("thoughtsTokenCount"))
        made = count(counts.get("candidatesTokenCount")) + thoughts
        return Usage(
            input=given - read + count(counts.get("toolUsePromptTokenCount")),
            cache_read=read,
            output=made if final else max(made, self._chars // CHARS_A_TOKEN),
            reasoning=thoughts,
            estimated=not final,
        )

    @property
    def ended(self) -> bool:
        return self._read or self._blocked or self._finished

    @property
    def _finished(self) -> bool:
        return bool(self._candidates) and all(self._candidates.values())

    @property
    def storable(self) -> bool:
        if self._read and not self._candidates:
            return not self._blocked
        return self._finished and all(why == "STOP" for why in self._candidates.values())

    def event(self, event: bytes) -> Sort:
        try:
            chunk = _plain(event[6:])  # after "data: "
        except (ValueError, RecursionError):
            return self._other(event)
        candidate = chunk.candidates[0]
        said = candidate.content.parts[0].text
        if not said or candidate.index not in self._candidates:
            return self._other(event)
        self._chars += len(said)
        self._last = chunk.usageMetadata
        self._committed = True
        return _CONTENT

    def whole(self, body: bytes) -> None:
        """One answer, or the array that a stream without `alt=sse` is."""
        try:
            value = loads(body)
        except ValueError:
            return
        for one in arr(value) or [value]:
            self._odd(obj(one))
        self._read = isinstance(value, dict | list)

    def _other(self, event: bytes) -> Sort:
        members = members_of(data_of(event))
        if members is None:
            return Sort.ERROR if name_of(event) == b"error" else _PREAMBLE
        if members.get("error"):
            return Sort.ERROR
        return self._odd(members)

    def _odd(self, members: Object) -> Sort:
        """Without candidates, or with members of odd types."""
        self._counts = {**self._told(), **obj(members.get("usageMetadata"))}
        before = self.ended
        self._blocked = self._blocked or bool(obj(members.get("promptFeedback")).get("blockReason"))
        for place, one in enumerate(arr(members.get("candidates"))):
            at = index(obj(one).get("index"))
            self._candidate(place if at < 0 else at, text(obj(one).get("finishReason")))
            parts = arr(obj(obj(one).get("content")).get("parts"))
            self._parts([obj(part) for part in parts])
        if self.ended and not before:
            return Sort.END
        return _CONTENT if self._committed else _PREAMBLE

    def _told(self) -> Object:
        last, self._last = bytes(self._last), _NO_USAGE
        if last:
            self._counts.update(members_of(last) or {})
        return self._counts

    def _candidate(self, at: int, why: str | None) -> None:
        if why or at not in self._candidates:
            self._candidates[at] = why or ""

    def _parts(self, parts: list[Object] | tuple[()]) -> None:
        for part in parts:
            said = part.get("text")
            if said is None:  # a call, an image, code: whatever it is, it is content
                self._committed = self._committed or bool(part)
                self._chars += len(str(obj(part.get("functionCall")).get("args") or ""))
            elif isinstance(said, str) and said:
                self._committed = True
                self._chars += len(said)
