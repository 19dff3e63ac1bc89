"""A Gemini answer from one form into the other: a stream of chunks, or one body.

Each chunk has the form of a body, so one body is a stream of one chunk. Folding joins texts that
follow each other and are alike, and keeps every other part as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet.proxy.dialects.lenient import (
    Object,
    arr,
    dumps,
    index,
    members_of,
    obj,
    text,
    unnamed,
)
from fleet.proxy.sse import data_of, events_of

_JOINABLE = frozenset({"text", "thought"})
_UNFINISHED = ("partialArgs", "willContinue")  # a call told in pieces: nothing here joins them


def fold(events: Sequence[bytes]) -> bytes | None:
    whole: Object = {}
    candidates: dict[int, _Candidate] = {}
    for one in events_of(events):
        data = data_of(one)
        members = members_of(data) if data else {}
        if members is None or members.get("error"):
            return None
        for name, value in members.items():
            if name == "usageMetadata":
                whole[name] = {**obj(whole.get(name)), **obj(value)}
            else:
                whole[name] = value
        for place, candidate in enumerate(arr(members.get("candidates"))):
            at = index(obj(candidate).get("index"))
            at = place if at < 0 else at
            candidates.setdefault(at, _Candidate()).take(obj(candidate))
    if not all(candidate.is_whole for candidate in candidates.values()):
        return None
    if candidates:
        return dumps({**whole, "candidates": [candidates[at].body() for at in sorted(candidates)]})
    return dumps(whole) if obj(whole.get("promptFeedback")).get("blockReason") else None


class _Candidate:
    """One candidate as far as it has come."""

    def __init__(self) -> None:
        self.rest: Object = {}
        self.content: Object | None = None
        self.parts: list[Object] = []

    def take(self, candidate: Object) -> None:
        content = candidate.get("content")
        self.rest.update(candidate)
        if isinstance(content, dict):
            self.content = {**(self.content or {}), **content}
            for part in arr(content.get("parts")):
                self._part(obj(part))

    def _part(self, part: Object) -> None:
        last = self.parts[-1] if self.parts else {}
        if _joins(last) and _joins(part) and last.get("thought") == part.get("thought"):
            self.parts[-1] = {**last, "text": text(last["text"]) + text(part["text"])}
        else:
            self.parts.append(part)

    @property
    def is_whole(self) -> bool:
        calls = [obj(part.get("functionCall")) for part in self.parts]
        return bool(self.rest.get("finishReason")) and not any(
            call.get(name) for call in calls for name in _UNFINISHED
        )

    def body(self) -> Object:
        if self.content is None:
            return self.rest
        told = "parts" in self.content
        content = {**self.content, "parts": self.parts} if told else self.content
        return {**self.rest, "content": content}


def _joins(part: Object) -> bool:
    return isinstance(part.get("text"), str) and _JOINABLE.issuperset(part)


def unfold(body: bytes) -> tuple[bytes, ...] | None:
    members = members_of(body)
    if members is None or not ("candidates" in members or "promptFeedback" in members):
        return None
    return (unnamed(members),)
