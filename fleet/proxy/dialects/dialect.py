"""What the proxy needs to know of a wire format, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

import msgspec

from fleet.core.usage import Usage
from fleet.proxy.wire import Reply, Trouble

Members = Mapping[str, msgspec.Raw]  # the top-level members of a body, as raw slices of it


class DialectName(StrEnum):
    ANTHROPIC = "anthropic"
    CHAT = "chat"
    RESPONSES = "responses"
    GEMINI = "gemini"


class Endpoint(StrEnum):
    """What is asked for; one word for a fingerprint, a metric and a row."""

    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    GENERATE = "generate"  # Gemini, with or without stream
    MODELS = "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request wants, as far as the proxy must know. Everything else stays bytes."""

    endpoint: Endpoint
    model: str = ""
    stream: bool = False
    wants_usage: bool = False  # Chat: the client itself asked for the usage chunk
    max_output: int = 0  # tokens; 0: not said
    deterministic: bool = False  # temperature 0, a seed, or an endpoint without chance
    bypass: str = ""  # why this request shares no answer; "" when it may


class Sort(Enum):
    """What one event of a stream is to its readers."""

    PREAMBLE = "preamble"  # before any content: may still be held back
    CONTENT = "content"  # the answer is committed from here on
    USAGE = "usage"  # Chat's usage chunk: only for those who asked for it
    END = "end"  # the terminal event of an answer that succeeded or was cut by a limit
    ERROR = "error"  # the provider gave up within the stream


class Meter(Protocol):
    """Reads one answer as it passes, and never changes it. Bad JSON is no exception here."""

    @property
    def usage(self) -> Usage:
        """The last value of each field wins; an answer without any is estimated from its bytes."""
        ...

    @property
    def ended(self) -> bool:
        """The terminal event, or a whole JSON body, has been read."""
        ...

    @property
    def storable(self) -> bool:
        """Ended in a way that may be given to others: not cut by a limit, refused or paused."""
        ...

    def event(self, event: bytes) -> Sort:
        """One whole server-sent event, with its blank line. About 1 µs for a delta."""
        ...

    def whole(self, body: bytes) -> None:
        """The body of an answer with status 200 that is not a stream."""
        ...


class Dialect(Protocol):
    """One wire format. Stateless; one instance each."""

    name: DialectName

    def ask(self, path: str, query: str, members: Members) -> Asked:
        """`path` is one that `dialects.table` gave to this dialect."""
        ...

    def meter(self, asked: Asked) -> Meter: ...

    def fold(self, events: Sequence[bytes]) -> bytes | None:
        """The JSON body a whole stream adds up to; None if it is not whole or well-formed (the
        arguments of a tool call must parse)."""
        ...

    def unfold(self, body: bytes) -> tuple[bytes, ...] | None:
        """The events that say the same as a JSON body; None if it cannot be read."""
        ...

    def refusal(
        self,
        trouble: Trouble,
        message: str,
        *,
        request_id: str,
        retry_after_s: int | None = None,
        retry: bool | None = None,
    ) -> Reply:
        """An error of ours in this dialect's body, status and headers. `retry` says whether a
        client should try again (`x-should-retry`); None leaves it to the client."""
        ...

    def broken(self, message: str) -> bytes:
        """The event that tells a client, within a stream, that the answer ends here."""
        ...

    def late(self, body: bytes) -> bytes:
        """The body of an error as the event that says the same, for a client that was promised a
        stream and has had none of it yet."""
        ...

    def keepalive(self, user_agent: str) -> bytes:
        """An event that keeps this client waiting and that it ignores."""
        ...
