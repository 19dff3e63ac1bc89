"""From the bytes an agent prints to its story, as they come.

Agents mix JSON lines with warnings of their runtime, and may be cut off anywhere: a line that is
no JSON object is passed over, one longer than 8 MB is too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from fleet.core.profile import OutputFormat
from fleet.core.story import Story
from fleet.worker.story.claude import ClaudeReader
from fleet.worker.story.codex import CodexReader
from fleet.worker.story.gemini import GeminiReader
from fleet.worker.story.mini import MiniReader
from fleet.worker.story.opencode import OpencodeReader
from fleet.worker.story.qwen import QwenReader
from fleet.worker.story.reader import Reader

LONGEST_LINE = 8 << 20

_READERS: Mapping[OutputFormat, Callable[[], Reader]] = MappingProxyType(
    {
        OutputFormat.CLAUDE: ClaudeReader,
        OutputFormat.CODEX: CodexReader,
        OutputFormat.GEMINI: GeminiReader,
        OutputFormat.JSONL: MiniReader,
        OutputFormat.OPENCODE: OpencodeReader,
        OutputFormat.QWEN: QwenReader,
    }
)


class Listener:
    """Give it output piece by piece, in any pieces."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pending: list[bytes] = []
        self._held = 0
        self._skipping = False  # within a line that is too long

    @property
    def story(self) -> Story:
        return self._reader.story

    def hear(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line(line)
        self._hold(rest)

    def finish(self) -> Story:
        """There is no more: the last line needs no newline."""
        self._line(b"")
        return self._reader.story

    def _line(self, end: bytes) -> None:
        self._hold(end)
        line = b"".join(self._pending)
        skipped, self._skipping = self._skipping, False
        self._pending.clear()
        self._held = 0
        if skipped or not line.lstrip().startswith(b"{"):
            return
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict):
            self._reader.take(event)

    def _hold(self, data: bytes) -> None:
        if self._skipping or not data:
            return
        self._held += len(data)
        if self._held > LONGEST_LINE:
            self._skipping = True
            self._pending.clear()
        else:
            self._pending.append(data)


def listener(output: OutputFormat) -> Listener | None:
    """None for an agent whose words have no form we know."""
    make = _READERS.get(output)
    return Listener(make()) if make is not None else None
