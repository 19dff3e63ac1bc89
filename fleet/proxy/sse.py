"""Server-sent events, cut out of whatever pieces a socket yields.

An event keeps exactly the bytes it came in, with the blank line that ends it, so the events and
`rest` joined are the input again. Where the cuts fall does not depend on how the input was split.
A stream without carriage returns, which is nearly all of them, costs one search an event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

EVENT_BYTES = 16 << 20  # images come in events of several MB; longer is nothing we can read

_CR, _NL = 13, 10
_LF = b"\n\n"
_CRLF = b"\r\n\r\n"
_BOM = b"\xef\xbb\xbf"
# A blank line is two line ends in a row, each CRLF, LF or CR. A CR that is the last byte seen is
# none yet: an LF may follow that belongs to it.
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?=[^\n])){2}")


class Splitter:
    """Feed it reads, in order; it gives whole events."""

    __slots__ = ("_held", "_limit", "_seam", "_size", "overflow")

    def __init__(self, limit: int = EVENT_BYTES) -> None:
        self.overflow = False  # an event grew past the limit: nothing more will come out
        self._limit = limit
        self._held: list[bytes] = []  # the beginning of an event
        self._seam = b""  # its last bytes, which may be the first of a blank line
        self._size = 0

    @property
    def rest(self) -> bytes:
        """What no blank line has ended."""
        return b"".join(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        if self._held or self.overflow:
            if not self._ends_with(data):
                return []
            data = b"".join((*self._held, data))
            self._clear()
        if _CR in data:  # looking for a number is the quickest way to look for a byte
            return self._with_returns(data)
        at = data.find(_LF)
        if at >= 0 and at + 2 == len(data):
            return [data]
        return self._cut(data, at, _LF)

    def _cut(self, data: bytes, at: int, blank: bytes) -> list[bytes]:
        events: list[bytes] = []
        start, width = 0, len(blank)
        while at >= 0:
            at += width
            events.append(data[start:at])
            start = at
            at = data.find(blank, start)
        if start < len(data):
            self._hold(data[start:])
        return events

    def _with_returns(self, data: bytes) -> list[bytes]:
        lines = data.splitlines()  # of bytes: at CRLF, LF and CR only
        last = len(lines) - 1
        if last > 0 and not lines[last] and data[-1] == _NL and lines.index(b"") == last:
            return [data]
        pairs = data.count(b"\r\n")
        if pairs == data.count(b"\r") == data.count(b"\n"):
            return self._cut(data, data.find(_CRLF), _CRLF)
        events: list[bytes] = []
        start = 0
        for blank in _BLANK.finditer(data):
            events.append(data[start : blank.end()])
            start = blank.end()
        if start < len(data):
            self._hold(data[start:])
        return events

    def _ends_with(self, data: bytes) -> bool:
        """Whether this read ends the event that is held; if not, it is held as well."""
        if self.overflow:
            return False
        near = self._seam + data
        if _LF in near or (_CR in near and _BLANK.search(near)):
            return True
        self._hold(data)
        return False

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        self._held.append(data)
        self._seam = (self._seam + data[-3:])[-3:]
        self._size += len(data)
        if self._size > self._limit:
            self.overflow = True
            self._clear()

    def _clear(self) -> None:
        self._held, self._seam, self._size = [], b"", 0


def events_of(pieces: Sequence[bytes]) -> list[bytes]:
    """Single events, however many each piece holds. The last may lack its blank line."""
    whole = b"".join(pieces)
    splitter = Splitter(len(whole))
    events = splitter.feed(whole)
    return [*events, splitter.rest] if splitter.rest.strip() else events


def data_of(event: bytes) -> bytes:
    """The data lines, joined."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and _CR not in event:
        return event[6:-2]
    found = [value for name, value in _fields(event) if name == b"data"]
    return found[0] if len(found) == 1 else b"\n".join(found)


def name_of(event: bytes) -> bytes:
    """What the event calls itself; b"" when it does not."""
    name = b""
    for field, value in _fields(event):
        if field == b"event":
            name = value
    return name


def _fields(event: bytes) -> list[tuple[bytes, bytes]]:
    if event.startswith(_BOM):
        event = event[3:]
    fields: list[tuple[bytes, bytes]] = []
    for line in event.splitlines():  # of bytes: at CRLF, LF and CR only
        name, _, value = line.partition(b":")
        if name:
            fields.append((name, value[1:] if value.startswith(b" ") else value))
    return fields
