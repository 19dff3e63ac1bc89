"""What passes between the rooms of the proxy: requests, answers and who takes them.

Everything that answers calls is an `Upstream`, be it a provider, a script or a recording. It tells
a `Sink` what comes, by plain calls in the order of the wire, from the event loop's own callbacks:
no task and no queue stand between a socket and its readers. After `end` or `failed` nothing comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Headers = tuple[tuple[bytes, bytes], ...]  # names in lower case; order and repeats kept


def header(headers: Headers, name: bytes) -> bytes:
    """The first value of that name; b"" when there is none."""
    for key, value in headers:
        if key == name:
            return value
    return b""


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request as an agent sent it. `target` is in origin form: path and query."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    def header(self, name: bytes) -> bytes:
        return header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One call to an upstream. Host, framing and credentials are the upstream's to add."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""


class Fault(StrEnum):
    """Why no whole answer came."""

    CONNECT = "connect"  # name, address, TLS
    RESET = "reset"  # the connection ended before the answer did
    FIRST_BYTE = "first-byte"  # time-outs
    IDLE = "idle"
    TOTAL = "total"
    PROTOCOL = "protocol"  # not HTTP, or HTTP that cannot be trusted
    TOO_LARGE = "too-large"


@dataclass(frozen=True, slots=True)
class Failure:
    fault: Fault
    detail: str = ""
    answered: bool = False  # at least one byte of an answer had come
    reused: bool = False  # on a connection that had served before: it may just have been closed


class Sink(Protocol):
    """Who takes an answer."""

    def head(self, status: int, headers: Headers) -> None: ...
    def data(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def failed(self, failure: Failure) -> None: ...


class Sending(Protocol):
    """A call on its way. `cancel` ends it without another word to the sink."""

    def cancel(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Upstream(Protocol):
    """Answers calls. `send` never blocks; called from the event loop's thread."""

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending: ...


class Trouble(StrEnum):
    """What the proxy itself may have to say; each dialect has its own words for it."""

    BAD_REQUEST = "bad-request"  # 400
    UNAUTHORIZED = "unauthorized"  # 401
    NOT_FOUND = "not-found"  # 404
    TOO_LARGE = "too-large"  # 413
    LIMITED = "limited"  # 429: later
    SPENT = "spent"  # 429 that no client repeats: the money is gone
    OVERLOADED = "overloaded"  # 529 to Anthropic clients, 503 to others
    TIMEOUT = "timeout"  # 504
    UPSTREAM = "upstream"  # 502: the provider gave no answer that can be used
    INTERNAL = "internal"  # 500


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: a refusal, or one that was folded, unfolded or made by us."""

    status: int
    headers: Headers
    body: bytes
