"""Reads a Responses answer as it passes: what each event is, how it ended, what it used.

The last event repeats the whole answer with its usage; there is no [DONE].
"""

from __future__ import annotations

import msgspec

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects.dialect import Asked, Sort
from fleet.proxy.dialects.lenient import CHARS_A_TOKEN, Object, arr, members_of, obj, text
from fleet.proxy.dialects.openai import counted
from fleet.proxy.sse import data_of, name_of

_EVENT = b"event: response."
_DATA = b"\ndata: {"
_ENDS = frozenset({"response.completed", "response.incomplete"})
_FAILS = frozenset({"response.failed", "response.cancelled", "error"})
_SILENT = frozenset({"message", "reasoning"})  # items that start empty
_PREAMBLE, _CONTENT = Sort.PREAMBLE, Sort.CONTENT  # reading an enum's member is slow in 3.11


class _Delta(msgspec.Struct, gc=False):
    delta: str


_delta = msgspec.json.Decoder(_Delta)


class ResponsesMeter:
    __slots__ = ("_chars", "_committed", "_counts", "_ended", "_status")

    def __init__(self, asked: Asked) -> None:
        self._chars = 0  # of text, reasoning and arguments that were seen
        self._committed = False
        self._counts: Object = {}
        self._ended = False
        self._status = ""

    @property
    def usage(self) -> Usage:
        if self._counts:
            return counted(self._counts, given="input_tokens", made="output_tokens")
        if self._chars:
            return Usage(output=self._chars // CHARS_A_TOKEN, estimated=True)
        return NOTHING

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def storable(self) -> bool:
        return self._ended and self._status == "completed"

    def event(self, event: bytes) -> Sort:
        if event.startswith(_EVENT):
            line = event.find(b"\n")
            if event.startswith(b".delta", line - 6) and event.startswith(_DATA, line):
                try:
                    said = _delta.decode(event[line + 7 :]).delta
                except (ValueError, RecursionError):
                    return self._other(event)
                if not said:
                    return _PREAMBLE
                self._chars += len(said)
                self._committed = True
                return _CONTENT
        return self._other(event)

    def whole(self, body: bytes) -> None:
        members = members_of(body)
        if members is None:
            return
        self._ended = True
        self._take(members)
        if not self._counts:
            self._chars = sum(_size(obj(item)) for item in arr(members.get("output")))

    def _other(self, event: bytes) -> Sort:
        members = members_of(data_of(event))
        if members is None:
            return Sort.ERROR if name_of(event) == b"error" else _PREAMBLE
        kind = text(members.get("type"))
        if kind in _ENDS:
            self._ended = True
            self._take(obj(members.get("response")))
            return Sort.END
        if kind in _FAILS or (not kind and members.get("error")):
            self._take(obj(members.get("response")))
            return Sort.ERROR
        if kind.endswith(".delta"):
            self._chars += len(text(members.get("delta")))
            self._committed = self._committed or bool(members.get("delta"))
        elif kind.endswith(".done"):
            self._committed = True  # whatever it was, it is complete
        elif kind == "response.output_item.added":
            item = obj(members.get("item")).get("type")
            self._committed = self._committed or text(item) not in _SILENT
        return _CONTENT if self._committed else _PREAMBLE

    def _take(self, response: Object) -> None:
        self._status = text(response.get("status"))
        usage = obj(response.get("usage"))
        self._counts.update((key, value) for key, value in usage.items() if value is not None)


def _size(item: Object) -> int:
    said = [text(obj(part).get("text")) for part in arr(item.get("content"))]
    return len(text(item.get("arguments"))) + sum(map(len, said))
