"""The body of a request as it comes in: counted, or in chunks.

`feed` takes what was read and gives back what lies beyond the body's end; None while it goes on.
Extensions of a chunk are bounded and dropped; trailers are refused.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Protocol

from fleet.proxy.http.heads import Refusal

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*+)?")
_LINE = 256  # a chunk's size with its extensions


class Body(Protocol):
    got: int  # bytes read

    def feed(self, data: bytes) -> bytes | None: ...
    def whole(self) -> bytes: ...


class Counted:
    __slots__ = ("_need", "_parts", "got")

    def __init__(self, length: int) -> None:
        self._need = length
        self._parts: list[bytes] = []
        self.got = 0

    def feed(self, data: bytes) -> bytes | None:
        missing = self._need - self.got
        rest = None
        if len(data) >= missing:
            data, rest = data[:missing], data[missing:]
        self._parts.append(data)
        self.got += len(data)
        return rest

    def whole(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _At(Enum):
    SIZE = 0
    DATA = 1
    DATA_END = 2
    LAST = 3


class Chunked:
    __slots__ = ("_at", "_data", "_left", "_limit", "_pending", "got")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._at = _At.SIZE
        self._left = 0
        self._pending = b""  # a line that is not whole yet
        self._data = bytearray()
        self.got = 0

    def feed(self, data: bytes) -> bytes | None:
        self.got += len(data)
        if self._pending:
            data, self._pending = self._pending + data, b""
        rest = self._parse(data)
        if self.got - len(rest or b"") - len(self._data) > self._limit:
            raise Refusal(413, "a body that is all framing")
        return rest

    def _parse(self, data: bytes) -> bytes | None:
        at, end = 0, len(data)
        while at < end:
            if self._at is _At.DATA:
                at = self._take(data, at)
                continue
            stop = self._line_end(data, at)
            if stop < 0:
                self._pending = data[at:]
                return None
            if self._at is _At.SIZE:
                self._start(data[at:stop])
            elif self._at is _At.LAST:
                return data[stop + 2 :]
            else:
                self._at = _At.SIZE
            at = stop + 2
        return None

    def whole(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data

    def _take(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left]
        self._data += piece
        self._left -= len(piece)
        if not self._left:
            self._at = _At.DATA_END
        return at + len(piece)

    def _line_end(self, data: bytes, at: int) -> int:
        """Where the line ends; -1 while it does not."""
        longest = _LINE if self._at is _At.SIZE else 0
        stop = data.find(b"\r\n", at, at + longest + 2)
        if stop < 0:
            rest = data[at : at + longest + 2]
            if len(rest) == longest + 2 or b"\n" in rest or b"\r" in rest[:-1]:
                raise Refusal(400, "a chunk whose line does not end where it should")
            if not longest and rest not in (b"", b"\r"):
                raise Refusal(400, "a chunk that is longer than its size, or a trailer")
        return stop

    def _start(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Refusal(400, "a chunk size that is none")
        self._left = int(match[1], 16)
        if len(self._data) + self._left > self._limit:
            raise Refusal(413, f"a body of more than {self._limit} bytes")
        self._at = _At.DATA if self._left else _At.LAST
