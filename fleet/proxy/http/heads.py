"""The head of a request, read strictly: what two readers could take differently is refused.

Not with httptools: it cannot stop at the end of one request, nor say where that was, and a server
that must not start on the second before the first is answered has to know. One pass proves that
no control character but the line ends is in the head; after that, splitting is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fleet.proxy.http.limits import Limits
from fleet.proxy.wire import Headers

CHUNKED = -1


class Refusal(Exception):
    """A request that is not served; the connection is closed after saying so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Head:
    method: str
    target: str
    headers: Headers
    length: int  # of the body; CHUNKED when only its end will tell
    closes: bool  # after this answer, by the client's wish
    is_old: bool  # HTTP/1.0: no chunks, no 100-continue
    expects: bool  # waits for our word before it sends the body


@dataclass(frozen=True, slots=True)
class Names:
    """What we may be called, so that no web page reaches us through a name of its own."""

    hosts: frozenset[bytes]
    origins: frozenset[bytes]

    @classmethod
    def of(cls, hosts: Iterable[str], port: int) -> Names:
        bare = [host.lower().encode() for host in hosts]
        full = [b"%b:%d" % (host, port) for host in bare]
        return cls(frozenset(bare + full), frozenset(b"http://" + host for host in full))


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_LINE = re.compile(rb"([A-Z]{1,20}) (/[!\"$-~]*+) HTTP/1\.([01])")
_ANY_LINE = re.compile(rb"([^ ]+) ([^ ]+) HTTP/([0-9])\.([0-9])")
_ABSOLUTE = re.compile(rb"(?i:http)://([^/?#@]++)((?:[/?][!\"$-~]*+)?)")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_TEXT = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_METHODS = {name.encode(): name for name in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS")}
_SPECIAL = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"expect",
        b"origin",
        b"sec-fetch-site",
    }
)
_low: dict[bytes, bytes] = {}  # names seen, in lower case: the same few come again and again
_LOW_SIZE = 1024


def read(raw: bytes, limits: Limits, names: Names) -> Head:
    """`raw` is a head without the empty line at its end."""
    lines = raw.split(b"\r\n")
    line = lines.pop(0)
    if raw.translate(None, _TEXT) != b"\r\n" * len(lines):
        raise Refusal(400, "a control character, or a line end that is not CR LF")
    if len(lines) > limits.headers:
        raise Refusal(431, f"more than {limits.headers} headers")
    match = _LINE.fullmatch(line)
    if match is not None:
        verb, place, minor = match.groups()
        if verb in _REFUSED_METHODS:
            raise Refusal(501, "this method is not served")
    else:
        verb, place, minor = _unusual(line, names)
    if len(place) > limits.target:
        raise Refusal(414, f"a target of more than {limits.target} bytes")

    headers, special = [], []
    known = _low.get
    for text in lines:
        name, colon, value = text.partition(b":")
        if not colon:
            raise Refusal(400, "a header line without a colon")
        pair = (known(name) or _lower(name), value.strip())
        headers.append(pair)
        if pair[0] in _SPECIAL:
            special.append(pair)
    is_old = minor == b"0"
    method = _METHODS.get(verb) or verb.decode("ascii")
    head = Head(method, place.decode("ascii"), tuple(headers), 0, is_old, is_old, False)
    _frame(head, special, limits, names)
    return head


_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})


def suspect(raw: bytes) -> None:
    """Refuse the beginning of a head that cannot become a good one, rather than wait for it."""
    if raw.count(b"\n") != raw.count(b"\r\n"):
        raise Refusal(400, "a line end that is not CR LF")
    line, ended, _ = raw.partition(b"\r\n")
    if ended and not _LINE.fullmatch(line):
        _unusual(line, None)
    if not (line[:1].isalpha() or line[:1] in b"!#$%&'*+-.^_`|~0123456789"):
        raise Refusal(400, "this is not HTTP")


def _unusual(line: bytes, names: Names | None) -> tuple[bytes, bytes, bytes]:
    """A request line that is not in origin form: served in absolute form, to ourselves."""
    match = _ANY_LINE.fullmatch(line)
    if match is None:
        raise Refusal(400, "this is no request line of HTTP/1.1")
    verb, place, major, minor = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise Refusal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if not _TOKEN.fullmatch(verb):
        raise Refusal(400, "this is no method")
    if verb in _REFUSED_METHODS or not verb.isalpha() or not verb.isupper() or len(verb) > 20:
        raise Refusal(501, "this method is not served")
    if place == b"*" and verb == b"OPTIONS":
        raise Refusal(405, "there is nothing to ask of this server as a whole")
    absolute = _ABSOLUTE.fullmatch(place)
    if absolute is None:
        raise Refusal(400, "the target is neither a path nor an address of this server")
    if names is not None and absolute[1].lower() not in names.hosts:
        raise Refusal(400, "the target is another server")
    rest = absolute[2]
    return verb, rest if rest.startswith(b"/") else b"/" + rest, minor


def _lower(name: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise Refusal(400, "a header name that is none")
    low = name.lower()
    if len(_low) < _LOW_SIZE and len(name) <= 64:
        _low[name] = low
    return low


def _frame(head: Head, special: list[tuple[bytes, bytes]], limits: Limits, names: Names) -> None:
    """What the headers say of the connection and of the body's end."""
    found: dict[bytes, bytes] = {}
    for name, value in special:
        if name == b"connection":
            head.closes = head.closes or _has(value, b"close")
        elif name in found:
            raise Refusal(400, f"two {name.decode()} headers")
        else:
            found[name] = value
    _address(head, found.pop(b"host", None), names)
    length = found.pop(b"content-length", None)
    if length is not None:
        head.length = _length(length, limits)
    if found:
        _rare(head, found, names, length)


def _rare(head: Head, found: dict[bytes, bytes], names: Names, length: bytes | None) -> None:
    coding, expected = found.get(b"transfer-encoding"), found.get(b"expect")
    origin = found.get(b"origin")
    if origin is not None and origin not in names.origins:
        raise Refusal(403, "no page of another origin is served")
    if found.get(b"sec-fetch-site", b"none").lower() not in (b"none", b"same-origin"):
        raise Refusal(403, "no page of another site is served")
    if coding is not None:
        _coding(head, coding, length)
    if expected is not None:
        if expected.lower() != b"100-continue":
            raise Refusal(417, "only 100-continue may be expected")
        head.expects = not head.is_old


def _address(head: Head, host: bytes | None, names: Names) -> None:
    if host is None:
        if not head.is_old:
            raise Refusal(400, "no host header")
    elif host not in names.hosts and host.lower() not in names.hosts:
        if not host or not _HOST.fullmatch(host):
            raise Refusal(400, "a host header that names no host")
        raise Refusal(403, "this server does not go by that name")


_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


def _coding(head: Head, coding: bytes, length: bytes | None) -> None:
    if length is not None:
        raise Refusal(400, "both content-length and transfer-encoding")
    if head.is_old:
        raise Refusal(400, "transfer-encoding in HTTP/1.0")
    if coding != b"chunked":
        raise Refusal(501, "no transfer-encoding but chunked is taken")
    head.length = CHUNKED


def _length(value: bytes, limits: Limits) -> int:
    if not value.isdigit():
        raise Refusal(400, "a content-length that is no number")
    if len(value) > 18 or int(value) > limits.body:
        raise Refusal(413, f"a body of more than {limits.body} bytes")
    return int(value)


def _has(value: bytes, token: bytes) -> bool:
    low = value.lower()
    return low == token or (b"," in low and token in [part.strip() for part in low.split(b",")])
