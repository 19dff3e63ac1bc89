"""What an answer looks like on the wire. The framing is ours alone: such headers are dropped."""

from __future__ import annotations

from http import HTTPStatus

from fleet.proxy.http.heads import Refusal
from fleet.proxy.wire import Headers, Reply

CLOSE = b"connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})
_STATUS = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


def render(status: int, headers: Headers, framing: bytes) -> bytes:
    """A head; `framing` is whole lines."""
    first = _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status
    lines = [b": ".join(pair) for pair in headers if pair[0] not in _FRAMING]
    if not lines:
        return b"%b%b\r\n" % (first, framing)
    text = b"\r\n".join(lines)
    if text.count(b"\n") != len(lines) - 1 or text.count(b"\r") != len(lines) - 1:
        raise ValueError("a line end in a header of an answer")
    return b"%b%b\r\n%b\r\n" % (first, text, framing)


def plain(refusal: Refusal) -> Reply:
    """A refusal in nobody's dialect."""
    return Reply(
        refusal.status,
        ((b"content-type", b"text/plain; charset=utf-8"),),
        f"{refusal.message}\n".encode(),
    )
