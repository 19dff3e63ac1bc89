"""Codex's `exec --json`: a thread of turns, each made of items.

How many answers of the model a turn took is not told, so every message and every tool call counts
as one. A failed command is no failure of the agent's; `turn.failed` is, also where it exits 0. The
input it counts includes what was read from the provider's prompt cache.
"""

from __future__ import annotations

import json

from fleet.core.story import Story
from fleet.core.traffic import plus
from fleet.core.usage import NOTHING, Usage
from fleet.worker.story.reader import Event, count, obj, shown, text

TOOLS = frozenset(
    {"command_execution", "file_change", "mcp_tool_call", "collab_tool_call", "web_search"}
)


class CodexReader:
    def __init__(self) -> None:
        self._session = self._error = self._said = ""
        self._messages = self._tools = 0
        self._usage = NOTHING
        self._ended = False

    def take(self, event: Event) -> None:
        match event.get("type"):
            case "thread.started":
                self._session = text(event.get("thread_id"))
            case "turn.started":
                self._ended, self._error = False, ""
            case "item.completed":
                self._item(obj(event.get("item")))
            case "turn.completed":
                self._ended = True
                self._usage = plus(self._usage, _usage(obj(event.get("usage"))))
            case "turn.failed":
                self._ended = True
                self._error = _why(text(obj(event.get("error")).get("message")))

    def _item(self, item: Event) -> None:
        if item.get("type") == "agent_message":
            self._messages += 1
            self._said = shown(item.get("text")) or self._said
        elif item.get("type") in TOOLS:
            self._tools += 1

    @property
    def story(self) -> Story:
        return Story(
            session=self._session,
            turns=self._messages + self._tools,
            tool_calls=self._tools,
            usage=self._usage,
            ended=self._ended,
            error=self._error,
            said=self._said,
        )


def _why(message: str) -> str:
    """Of a refusal it tells the body, as it came."""
    try:
        body = json.loads(message)
    except (ValueError, RecursionError):
        body = None
    said = shown(obj(obj(body).get("error")).get("message"))
    return said or shown(message) or "the turn failed"


def _usage(counts: Event) -> Usage:
    read, written = (
        count(counts.get("cached_input_tokens")),
        count(counts.get("cache_write_input_tokens")),
    )
    return Usage(
        input=max(count(counts.get("input_tokens")) - read - written, 0),
        cache_read=read,
        cache_write_5m=written,
        output=count(counts.get("output_tokens")),
        reasoning=count(counts.get("reasoning_output_tokens")),
    )
