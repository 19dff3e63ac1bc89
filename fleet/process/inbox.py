"""What a program is told on its stdin."""

from __future__ import annotations


class Inbox:
    """Bytes on their way to a program. Its stdin is closed when all of them are written, or, if
    `stays_open`, when it is closed here as well."""

    __slots__ = ("_ahead", "_stays_open")

    def __init__(self, first: bytes = b"", *, stays_open: bool = False) -> None:
        self._ahead = memoryview(first)
        self._stays_open = stays_open

    def put(self, data: bytes) -> None:
        self._ahead = memoryview(bytes(self._ahead) + data)

    def close(self) -> None:
        """Nothing more will be put."""
        self._stays_open = False

    @property
    def is_wanted(self) -> bool:
        """The program needs a stdin at all."""
        return self._stays_open or bool(self._ahead)

    @property
    def is_over(self) -> bool:
        return not self._stays_open and not self._ahead

    def peek(self, most: int) -> memoryview:
        return self._ahead[:most]

    def taken(self, number: int) -> None:
        self._ahead = self._ahead[number:]

    def refused(self) -> None:
        """The program does not want to know."""
        self._ahead, self._stays_open = memoryview(b""), False
