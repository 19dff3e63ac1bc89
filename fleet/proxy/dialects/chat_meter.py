"""Reads a Chat Completions answer as it passes: what each chunk is, how it ended, what it used.

Usage comes in a chunk of its own (`choices: []`) from those who were asked for it, beside the last
choices from some, and llama.cpp adds `timings`, or gives nothing else.
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
    members_of,
    obj,
    text,
)
from fleet.proxy.dialects.openai import counted
from fleet.proxy.sse import data_of, name_of

_GOOD_ENDS = frozenset({"stop", "tool_calls", "function_call"})
_SAYING = ("content", "reasoning_content", "reasoning", "refusal")
_CALLING = ("tool_calls", "function_call", "audio")
_PREAMBLE, _CONTENT = Sort.PREAMBLE, Sort.CONTENT  # reading an enum's member is slow in 3.11


# The shape of a plain delta, which nearly all chunks have. What has more to say (an end, usage, an
# error, several choices) does not fit, and is read the slow way.


class _Function(msgspec.Struct, gc=False):
    arguments: str = ""


class _Call(msgspec.Struct, gc=False):
    function: _Function


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: tuple[_Choice]
    usage: None = None
    timings: None = None
    error: None = None


_plain = msgspec.json.Decoder(_Chunk).decode


class ChatMeter:
    __slots__ = ("_chars", "_chats", "_choices", "_committed", "_counts", "_ended", "_timings")

    def __init__(self, asked: Asked) -> None:
        self._chats = asked.endpoint is Endpoint.CHAT
        self._chars = 0  # of text, reasoning and arguments that were seen
        self._choices: dict[int, str] = {}  # why each of them ended; "" while it goes on
        self._committed = False
        self._counts: Object = {}
        self._ended = False
        self._timings: Object = {}

    @property
    def usage(self) -> Usage:
        if self._counts:
            return _with_cache(
                counted(self._counts, given="prompt_tokens", made="completion_tokens"),
                count(self._timings.get("cache_n")),
            )
        if self._timings:
            return Usage(
                input=count(self._timings.get("prompt_n")),
                cache_read=count(self._timings.get("cache_n")),
                output=count(self._timings.get("predicted_n")),
            )
        if self._chars:
            return Usage(output=self._chars // CHARS_A_TOKEN, estimated=True)
        return NOTHING

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def storable(self) -> bool:
        if not self._chats:
            return self._ended
        ends = self._choices.values()
        return self._ended and bool(ends) and all(end in _GOOD_ENDS for end in ends)

    def event(self, event: bytes) -> Sort:
        try:
            choice = _plain(event[6:]).choices[0]  # after "data: "
        except (ValueError, RecursionError):
            return self._other(event)
        delta = choice.delta
        said = delta.content or delta.reasoning_content
        if said:
            self._chars += len(said)
        elif delta.tool_calls:
            self._chars += len(delta.tool_calls[0].function.arguments)
        else:
            return self._other(event)
        if choice.index not in self._choices:
            self._choices[choice.index] = ""
        self._committed = True
        return _CONTENT

    def _other(self, event: bytes) -> Sort:
        data = data_of(event)
        if data == b"[DONE]":
            self._ended = True
            return Sort.END
        if event.startswith(b"error:") or name_of(event) == b"error":
            return Sort.ERROR
        members = members_of(data)
        if members is None:
            return _PREAMBLE
        if members.get("error"):
            return Sort.ERROR
        self._take(members.get("usage"), members.get("timings"))
        choices = arr(members.get("choices"))
        if not choices:
            return Sort.USAGE if isinstance(members.get("usage"), dict) else _PREAMBLE
        said = [self._odd(obj(one)) for one in choices]
        self._committed = self._committed or any(said)
        return _CONTENT if self._committed else _PREAMBLE

    def _odd(self, choice: Object, said_in: str = "delta") -> bool:
        """Whether it says anything."""
        at, why = max(index(choice.get("index")), 0), text(choice.get("finish_reason"))
        self._choices[at] = why or self._choices.get(at, "")
        delta = obj(choice.get(said_in))
        self._chars += sum(len(text(delta.get(name))) for name in _SAYING)
        self._chars += _arguments(delta.get("tool_calls"), delta.get("function_call"))
        return any(delta.get(name) for name in (*_SAYING, *_CALLING))

    def whole(self, body: bytes) -> None:
        members = members_of(body)
        if members is None:
            return
        self._ended = True
        self._take(members.get("usage"), members.get("timings"))
        for choice in arr(members.get("choices")):
            self._odd(obj(choice), said_in="message")

    def _take(self, usage: object, timings: object) -> None:
        if isinstance(usage, dict):
            self._counts.update((key, value) for key, value in usage.items() if value is not None)
        if isinstance(timings, dict):
            self._timings.update(timings)


def _with_cache(usage: Usage, reused: int) -> Usage:
    """llama.cpp counts what it reused of its cache beside the usage, not in it."""
    if usage.cache_read or not 0 < reused <= usage.input:
        return usage
    return Usage(
        input=usage.input - reused,
        cache_read=reused,
        output=usage.output,
        reasoning=usage.reasoning,
    )


def _arguments(calls: object, call: object) -> int:
    size = len(text(obj(call).get("arguments")))
    for one in arr(calls):
        function = obj(obj(one).get("function")) or obj(obj(one).get("custom"))
        size += len(text(function.get("arguments")) or text(function.get("input")))
    return size
