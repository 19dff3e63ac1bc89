"""What is said in answer to a question, before it is put into any wire format. Pure.

Ids come from the question, so the same question gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from fleet.core.usage import Usage
from fleet.proxy.dialects.lenient import Object
from fleet.proxy.script.question import Conversation, Question
from fleet.proxy.script.rules import DONE, Answer, Stop
from fleet.proxy.script.tools import fit

CREATED = 1_700_000_000  # when every answer was made: a clock would make them differ
BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Calling:
    id: str
    name: str
    arguments: Object

    @property
    def json(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    id: str
    model: str
    thinking: str
    text: str
    calls: tuple[Calling, ...]
    stop: Stop
    usage: Usage
    pieces: int
    chars_per_piece: int
    wants_usage: bool = False
    store: bool = False

    def cut(self, text: str) -> list[str]:
        """As the deltas of a stream carry it; nothing for an empty text."""
        if not self.pieces:
            size = self.chars_per_piece
            return [text[at : at + size] for at in range(0, len(text), size)]
        parts = min(self.pieces, len(text))
        ends = [len(text) * number // parts for number in range(parts + 1)] if parts else [0]
        return [text[start:end] for start, end in pairwise(ends)]

    def tag(self, prefix: str, number: int = 0) -> str:
        """An id of something within the answer."""
        return f"{prefix}{_hash(self.id, prefix, str(number))}"


class Voice(Protocol):
    """One wire format: how its requests are read, and how an answer is said in it."""

    def read(self, body: Object) -> Conversation: ...

    def whole(self, speech: Speech) -> bytes: ...

    def events(self, speech: Speech) -> list[bytes]: ...

    def error(self, status: int, kind: str, message: str, request_id: str) -> bytes:
        """`kind` may be "", and is then the usual one of that status."""
        ...


def compose(question: Question, answer: Answer) -> Speech:
    fitted = [fit(call, question.conversation.tools) for call in answer.calls]
    calls = tuple(
        Calling(_hash(question.digest, "call", str(number)), call.tool, dict(call.input))
        for number, call in enumerate(call for call in fitted if call is not None)
    )
    thought_only = answer.thinking and not answer.calls
    text = answer.text or ("" if calls or thought_only else DONE)
    stop = answer.stop or (Stop.TOOL_USE if calls else Stop.END_TURN)
    return Speech(
        id=question.digest[:24],
        model=question.model,
        thinking=answer.thinking,
        text=text,
        calls=calls,
        stop=Stop.END_TURN if stop is Stop.TOOL_USE and not calls else stop,
        usage=_usage(question, answer, text, calls),
        pieces=answer.pieces,
        chars_per_piece=answer.chars_per_piece,
        wants_usage=question.conversation.wants_usage,
        store=question.conversation.store,
    )


def estimate(size: int) -> int:
    """Tokens of so many bytes."""
    return max(1, size // BYTES_A_TOKEN)


def _usage(question: Question, answer: Answer, text: str, calls: tuple[Calling, ...]) -> Usage:
    spend = answer.spend
    said = _size(text) + _size(answer.thinking) + sum(_size(call.json) for call in calls)
    output = estimate(said) if spend.output is None else spend.output
    return Usage(
        input=estimate(question.size) if spend.input is None else spend.input,
        cache_read=spend.cache_read,
        cache_write_5m=spend.cache_write,
        output=output,
        reasoning=min(output, estimate(_size(answer.thinking))) if answer.thinking else 0,
    )


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
