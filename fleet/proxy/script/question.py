"""What a request asks, in the terms all wire formats share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from fleet.proxy.dialects.dialect import DialectName


class Side(Enum):
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Turn:
    """All messages of one side in a row. Results of tools are the user's."""

    side: Side
    text: str = ""
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: Mapping[str, object]  # JSON Schema of its arguments; {} when none came


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What the body of a request says."""

    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    stream: bool = False
    wants_usage: bool = False  # Chat: a usage chunk
    store: bool = False  # Responses


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    dialect: DialectName
    model: str
    conversation: Conversation
    stream: bool
    sse: bool  # events, or Gemini's array of chunks
    digest: str  # the same for the same question, streamed or not
    size: int  # bytes that count

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.conversation.turns

    @property
    def last(self) -> Turn:
        """The last user turn."""
        users = (turn for turn in reversed(self.turns) if turn.side is Side.USER)
        return next(users, Turn(Side.USER))

    def turn_since(self, start: int) -> int:
        """Which turn of the assistant's is asked for, counted from a place in `turns`; from 1."""
        return 1 + sum(turn.side is Side.ASSISTANT for turn in self.turns[start:])


def in_turns(messages: Iterable[Turn]) -> tuple[Turn, ...]:
    """Messages of one side in a row become one turn."""
    turns: list[Turn] = []
    for message in messages:
        if turns and turns[-1].side is message.side:
            before = turns.pop()
            texts = [text for text in (before.text, message.text) if text]
            message = Turn(message.side, "\n".join(texts), before.results + message.results)
        turns.append(message)
    return tuple(turns)
