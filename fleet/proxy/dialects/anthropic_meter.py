"""Reads an Anthropic answer as it passes: what each event is, how it ended, what it used.

Usage counts are cumulative: the last value of each field wins, `message_delta` over
`message_start`, and a field that is missing or null keeps its value.
"""

from __future__ import annotations

import msgspec

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects.dialect import Asked, Endpoint, Sort
from fleet.proxy.dialects.lenient import (
    CHARS_A_TOKEN,
    MOST_TOKENS,
    Object,
    arr,
    count,
    dumps,
    members_of,
    obj,
    text,
)
from fleet.proxy.sse import data_of, name_of

_DELTA = b"event: content_block_delta\ndata: {"
_DELTA_DATA = len(_DELTA) - 1
_GOOD_ENDS = frozenset({"end_turn", "tool_use", "stop_sequence"})
_WITHOUT_CONTENT = frozenset({"text", "thinking"})  # blocks that start empty
_PREAMBLE, _CONTENT = Sort.PREAMBLE, Sort.CONTENT  # reading an enum's member is slow in 3.11


class _Text(msgspec.Struct, gc=False):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _Delta(msgspec.Struct, gc=False):
    delta: _Text


class _Created(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: int = 0


class _Details(msgspec.Struct, gc=False):
    thinking_tokens: int = 0


class _Counts(msgspec.Struct, gc=False):
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    cache_creation: _Created | None = None
    output_tokens_details: _Details | None = None


class _Whole(msgspec.Struct, gc=False):
    usage: _Counts
    stop_reason: str | None = None


_delta = msgspec.json.Decoder(_Delta)
_whole = msgspec.json.Decoder(_Whole)


class AnthropicMeter:
    __slots__ = (
        "_billed",
        "_chars",
        "_committed",
        "_counts",
        "_ended",
        "_final",
        "_stop_reason",
        "_thinks",
        "_usage",
    )

    def __init__(self, asked: Asked) -> None:
        self._billed = asked.endpoint is Endpoint.MESSAGES
        self._chars = 0  # of text, thinking and arguments that were seen
        self._committed = False
        self._counts: Object = {}
        self._ended = False
        self._final = False  # the last counts have come
        self._stop_reason = ""
        self._usage: Usage | None = None  # of a body as bodies usually are
        self._thinks = False  # the open block is thinking, which counts when it is complete

    @property
    def usage(self) -> Usage:
        if self._usage is not None:
            return self._usage if self._billed else NOTHING
        counts = self._counts
        if not self._billed or not (counts or self._chars):
            return NOTHING
        reported = count(counts.get("output_tokens"))
        written, long = _written(counts)
        return Usage(
            input=count(counts.get("input_tokens")),
            cache_read=count(counts.get("cache_read_input_tokens")),
            cache_write_5m=written - long,
            cache_write_1h=long,
            output=reported if self._final else max(reported, self._chars // CHARS_A_TOKEN),
            reasoning=min(
                count(obj(counts.get("output_tokens_details")).get("thinking_tokens")), reported
            ),
            estimated=not self._final,
        )

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def storable(self) -> bool:
        return self._ended and (not self._billed or self._stop_reason in _GOOD_ENDS)

    def event(self, event: bytes) -> Sort:
        if event.startswith(_DELTA):
            try:
                delta = _delta.decode(event[_DELTA_DATA:]).delta
            except (ValueError, RecursionError):
                return self._other(event)
            size = len(delta.text or delta.thinking or delta.partial_json)
            if not size:
                return _PREAMBLE
            self._chars += size
            self._committed = True
            return _CONTENT
        return self._other(event)

    def whole(self, body: bytes) -> None:
        try:
            found = _whole.decode(body)
        except (ValueError, RecursionError):
            self._odd_whole(body)
            return
        self._usage = _usual(found.usage)
        if self._usage is None:
            self._odd_whole(body)
            return
        self._ended = self._final = True
        self._stop_reason = found.stop_reason or ""

    def _odd_whole(self, body: bytes) -> None:
        members = members_of(body)
        if members is None:
            return
        self._ended = True
        self._stop_reason = text(members.get("stop_reason"))
        self._take(members.get("usage"))
        self._final = "output_tokens" in self._counts
        if not self._final:
            content = arr(members.get("content"))
            self._chars = len(dumps(content)) if content else 0

    def _other(self, event: bytes) -> Sort:
        members = members_of(data_of(event))
        if members is None:
            return Sort.ERROR if name_of(event) == b"error" else _PREAMBLE
        match members.get("type"):
            case "message_start":
                self._take(obj(members.get("message")).get("usage"))
            case "content_block_start":
                return self._start(obj(members.get("content_block")))
            case "content_block_delta":
                return self._odd_delta(obj(members.get("delta")))
            case "content_block_stop" if self._thinks:
                self._thinks, self._committed = False, True
            case "message_delta":
                usage = obj(members.get("usage"))
                self._take(usage)
                self._final = self._final or usage.get("output_tokens") is not None
                reason = text(obj(members.get("delta")).get("stop_reason"))
                self._stop_reason = reason or self._stop_reason
            case "message_stop":
                self._ended = True
                return Sort.END
            case "error":
                return Sort.ERROR
        return _CONTENT if self._committed else _PREAMBLE

    def _start(self, block: Object) -> Sort:
        kind = block.get("type")
        self._thinks = kind in ("thinking", "redacted_thinking")
        started = text(block.get("text")) or text(block.get("thinking"))
        self._chars += len(started)
        if started or not (self._thinks or kind in _WITHOUT_CONTENT or kind is None):
            self._committed = True
        return _CONTENT if self._committed else _PREAMBLE

    def _odd_delta(self, delta: Object) -> Sort:
        """One with a member of another type than it should have, or with half a character."""
        said = text(delta.get("text")) or text(delta.get("thinking"))
        said = said or text(delta.get("partial_json"))
        self._chars += len(said)
        self._committed = self._committed or bool(said)
        return _CONTENT if self._committed else _PREAMBLE

    def _take(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._counts.update((key, value) for key, value in usage.items() if value is not None)


def _usual(counts: _Counts) -> Usage | None:
    """None if there is something odd about it."""
    fresh, read = counts.input_tokens, counts.cache_read_input_tokens
    written, output = counts.cache_creation_input_tokens, counts.output_tokens
    long = counts.cache_creation.ephemeral_1h_input_tokens if counts.cache_creation else 0
    details = counts.output_tokens_details
    thought = details.thinking_tokens if details else 0
    if not (0 <= long <= written <= MOST_TOKENS and 0 <= thought <= output <= MOST_TOKENS):
        return None
    if not (0 <= fresh <= MOST_TOKENS and 0 <= read <= MOST_TOKENS):
        return None
    return Usage(
        input=fresh,
        cache_read=read,
        cache_write_5m=written - long,
        cache_write_1h=long,
        output=output,
        reasoning=thought,
    )


def _written(counts: Object) -> tuple[int, int]:
    """Tokens written to the cache, and how many of them for an hour. The sum may be newer than its
    parts; without parts all of it is for five minutes."""
    parts = obj(counts.get("cache_creation"))
    long = count(parts.get("ephemeral_1h_input_tokens"))
    total = count(counts.get("cache_creation_input_tokens"))
    if "cache_creation_input_tokens" not in counts:
        total = long + count(parts.get("ephemeral_5m_input_tokens"))
    return total, min(long, total)
