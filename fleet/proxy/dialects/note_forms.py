"""How a text of ours is said in each wire format, in or after a message of the user's. Pure.

Results of tools stay together and first. Anthropic wants the text within their message, as one more
block; for Chat, Responses and Gemini it is a message after theirs, for OpenAI knows no texts among
results, and Gemini refuses a turn of function responses that holds anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import msgspec

from fleet.proxy.dialects import lenient
from fleet.proxy.dialects.dialect import DialectName
from fleet.proxy.dialects.splice import start_of

Insertion = tuple[int, bytes]  # before which byte, and what

_SPACE = re.compile(rb"[ \t\r\n]*")
_FUNCTION_RESPONSES = frozenset({"functionResponse", "function_response"})


class _Head(msgspec.Struct):
    role: object = None
    type: object = None


class _Content(msgspec.Struct):
    parts: list[dict[str, msgspec.Raw]] = []


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_head = msgspec.json.Decoder(_Head)
_content = msgspec.json.Decoder(_Content)


class Side(Enum):
    OTHER = "other"  # the model, or whoever wrote the client
    USER = "user"
    RESULTS = "results"  # of tools: the user's turn, in formats where they are told apart


@dataclass(frozen=True, slots=True)
class Form:
    """One wire format. `within` puts texts into a message of the user's, or cannot."""

    member: str  # that holds the conversation
    side: Callable[[bytes], Side]
    within: Callable[[bytes, Sequence[str]], list[Insertion] | None]
    message: Callable[[str], object]


def _anthropic_side(item: bytes) -> Side:
    return Side.USER if _head.decode(item).role == "user" else Side.OTHER


def _chat_side(item: bytes) -> Side:
    role = _head.decode(item).role
    if role in ("tool", "function"):
        return Side.RESULTS
    return Side.USER if role == "user" else Side.OTHER


def _responses_side(item: bytes) -> Side:
    head = _head.decode(item)
    if lenient.text(head.type).endswith("_output"):
        return Side.RESULTS
    is_message = head.type in (None, "message")
    return Side.USER if is_message and head.role == "user" else Side.OTHER


def _gemini_side(item: bytes) -> Side:
    if _head.decode(item).role == "model":
        return Side.OTHER
    names = {name for part in _content.decode(item).parts for name in part}
    return Side.USER if names.isdisjoint(_FUNCTION_RESPONSES) else Side.RESULTS


def _in_blocks(item: bytes, texts: Sequence[str]) -> list[Insertion] | None:
    """Anthropic's content: a text alone says the same as one block of it, which is what a client
    that moves its cache marks makes of it from one request to the next."""
    start, content = _place_of(item, "content")
    blocks = [block(text) for text in texts]
    if content.startswith(b'"'):
        more = b"},%b]" % listed(blocks)
        return [(start, b'[{"type":"text","text":'), (start + len(content), more)]
    return _at_end(start, content, blocks)


def _in_text(item: bytes, texts: Sequence[str]) -> list[Insertion] | None:
    """Chat's content. A text stays one: many servers take nothing else."""
    start, content = _place_of(item, "content")
    if content.startswith(b'"'):
        more = lenient.dumps("".join(f"\n\n{text}" for text in texts))
        return [(start + len(content) - 1, more[1:-1])]
    return _at_end(start, content, [block(text) for text in texts])


def _in_parts(item: bytes, texts: Sequence[str]) -> list[Insertion] | None:
    start, parts = _place_of(item, "parts")
    return _at_end(start, parts, [{"text": text} for text in texts])


def _nowhere(item: bytes, texts: Sequence[str]) -> list[Insertion] | None:
    """Responses: a text of its own is what clients send, too."""
    return None


def block(text: str) -> object:
    return {"type": "text", "text": text}


def _place_of(item: bytes, name: str) -> tuple[int, bytes]:
    """Where the value of a member begins, and what it is; b"" if there is none."""
    members = _members.decode(item)
    start = start_of(item, members, name)
    return (0, b"") if start is None else (start, lenient.raw(members, name))


def _at_end(start: int, value: bytes, more: Sequence[object]) -> list[Insertion] | None:
    """Of a list; None if it is none."""
    if not value.startswith(b"["):
        return None
    end = len(value) - 1
    comma = b"" if past_space(value, 1) == end else b","
    return [(start + end, comma + listed(more))]


def listed(values: Sequence[object]) -> bytes:
    return b",".join(map(lenient.dumps, values))


FORMS: Mapping[DialectName, Form] = {
    DialectName.ANTHROPIC: Form(
        "messages",
        _anthropic_side,
        _in_blocks,
        lambda text: {"role": "user", "content": [block(text)]},
    ),
    DialectName.CHAT: Form(
        "messages", _chat_side, _in_text, lambda text: {"role": "user", "content": text}
    ),
    DialectName.RESPONSES: Form(
        "input",
        _responses_side,
        _nowhere,
        lambda text: {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        },
    ),
    DialectName.GEMINI: Form(
        "contents",
        _gemini_side,
        _in_parts,
        lambda text: {"role": "user", "parts": [{"text": text}]},
    ),
}


def past_space(value: bytes, at: int) -> int:
    found = _SPACE.match(value, at)
    assert found is not None
    return found.end()
