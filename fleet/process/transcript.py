"""What a program said, on disk and bounded: its first and its last bytes, never all of them.

The first `head_bytes` go into the file itself. What follows goes into two segments beside it,
`<name>.tail.0` and `.tail.1`, which take turns: when one holds `tail_bytes`, the other is begun
anew. So the last `tail_bytes` are always on disk, in at most twice their size. `close` puts head,
a line that says how much is missing, and tail into the one file, by a rename: a crash at any
instant leaves pieces that `read` can put together. Nothing is fsynced: it is a narrative, and
no decision is made from it.

DESIGN. A segment opens with a line that says where in the stream it starts and how long the head
may be. So a reader knows the newer one, notices a segment being overwritten under it (the two do
not join), and tells a whole file (longer than a head) from a head.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fleet.core.errors import NoSpaceError, StorageError

MIB = 1 << 20
_STAMP = re.compile(rb"fleet transcript segment: from byte (\d{20}), head (\d{20})\n")
_STAMP_BYTES = 84

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_SEQUENCE = re.compile(
    r"""
      (?:\x1b\[|\x9b) [0-?]* [ -/]* [@-~]                              # CSI: colours, cursor
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])                             # OSC, DCS and their kind,
      [^\x00-\x08\x0a-\x1f\x7f-\x9f]* (?:\x07|\x1b\\|\x9c)             #   only when they end
    | \x1b [ -/]* [0-~]                                                # any other escape
    """,
    re.VERBOSE,
)
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the order of what we see
    "\u2028\u2029\ud800-\udfff]"
)


class Transcript:
    """The writing end. One writer; any process may `read` meanwhile."""

    def __init__(self, path: Path, *, head_bytes: int = 4 * MIB, tail_bytes: int = 4 * MIB) -> None:
        self.total = 0
        self._path = path
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._segments = _segments(path)
        self._turn = 0
        self._starts: list[int | None] = [None, None]  # where in the stream each segment begins
        for segment in self._segments:
            segment.unlink(missing_ok=True)
        self._fd = self._open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            room = self._room()
            if room == 0:
                self._next_segment()
                continue
            written = self._put(view[:room])
            self.total += written
            view = view[written:]

    def close(self) -> None:
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if self.total <= self._head_bytes:
            return
        whole = self._path.with_name(f"{self._path.name}.whole")
        try:
            self._assemble(whole)
            whole.replace(self._path)
        except OSError as error:
            raise _refused(self._path, error) from error
        for segment in self._segments:
            segment.unlink(missing_ok=True)

    def _room(self) -> int:
        """How much the file in hand still takes."""
        start = self._starts[self._turn]
        if start is None:
            return self._head_bytes - self.total
        return start + self._tail_bytes - self.total

    def _next_segment(self) -> None:
        if self._starts[self._turn] is not None:
            self._turn = 1 - self._turn
        os.close(self._fd)
        self._fd = -1
        self._fd = self._open(self._segments[self._turn])
        self._starts[self._turn] = self.total
        self._put(memoryview(_stamp(self.total, self._head_bytes)))

    def _put(self, view: memoryview) -> int:
        try:
            return os.write(self._fd, view)
        except OSError as error:
            raise _refused(self._path, error) from error

    def _open(self, path: Path) -> int:
        try:
            fd = os.open(path, _WRITE, 0o600)
            os.fchmod(fd, 0o600)
        except OSError as error:
            raise _refused(path, error) from error
        return fd

    def _assemble(self, whole: Path) -> None:
        """Head, note and tail, copied piece by piece: never all of it in memory."""
        tail_from = max(self._head_bytes, self.total - self._tail_bytes)
        with os.fdopen(self._open(whole), "wb") as out:
            with os.fdopen(os.open(self._path, _READ), "rb") as head:
                shutil.copyfileobj(head, out)
            out.write(_note(tail_from - self._head_bytes))
            for turn in (1 - self._turn, self._turn):
                start = self._starts[turn]
                if start is None:
                    continue
                with os.fdopen(os.open(self._segments[turn], _READ), "rb") as segment:
                    segment.seek(_STAMP_BYTES + max(0, tail_from - start))
                    shutil.copyfileobj(segment, out)


def read(path: Path) -> bytes:
    """What is there now, whether the program still runs, has ended, or its writer has died."""
    # Segments first: if the writer closes in between, the file that follows is whole.
    found = [_segment(path) for path in _segments(path)]
    parts = sorted((part for part in found if part), key=lambda part: part.start)
    body = _content(path)
    if not parts or len(body) > parts[-1].head_bytes:
        return body
    if len(parts) == 2 and parts[0].start + len(parts[0].data) != parts[1].start:
        del parts[0]  # overwritten while we read
    tail = b"".join(part.data for part in parts)
    return body + _note(parts[0].start - len(body)) + tail


def plain(text: str) -> str:
    """Text that can be shown: no escape sequences, controls or reordering; lines and tabs stay."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    start: int
    head_bytes: int
    data: bytes


def _segment(path: Path) -> _Segment | None:
    content = _content(path)
    stamp = _STAMP.match(content)
    if stamp is None:
        return None
    return _Segment(start=int(stamp[1]), head_bytes=int(stamp[2]), data=content[_STAMP_BYTES:])


def _segments(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.tail.0"), path.with_name(f"{path.name}.tail.1")


def _stamp(start: int, head_bytes: int) -> bytes:
    return b"fleet transcript segment: from byte %020d, head %020d\n" % (start, head_bytes)


def _note(left_out: int) -> bytes:
    return b"\n[... %d bytes left out ...]\n" % left_out if left_out > 0 else b""


def _content(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            return file.read()
    except OSError:
        return b""


def _refused(path: Path, error: OSError) -> StorageError:
    kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(f"{path}: cannot be written: {error.strerror}")
