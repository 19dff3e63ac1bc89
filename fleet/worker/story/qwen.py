"""Qwen Code's `--output-format stream-json`: Claude Code's form, with counts of its own.

Its input includes what was read from the provider's prompt cache.
"""

from __future__ import annotations

from dataclasses import replace

from fleet.core.story import Story
from fleet.worker.story.claude import ClaudeReader
from fleet.worker.story.reader import Event


class QwenReader:
    def __init__(self) -> None:
        self._reader = ClaudeReader()

    def take(self, event: Event) -> None:
        self._reader.take(event)

    @property
    def story(self) -> Story:
        told = self._reader.story
        used = told.usage
        fresh = max(used.input - used.cache_read, 0)
        return replace(told, usage=replace(used, input=fresh))
