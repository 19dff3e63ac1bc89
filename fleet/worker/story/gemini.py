"""Gemini CLI's `--output-format stream-json`.

Its answers come in deltas without an id: one that follows a user's turn, a tool's result or a call
begins a new one. `result` counts all input, what was read from a cache included.
"""

from __future__ import annotations

from fleet.core.story import Story
from fleet.core.usage import NOTHING, Usage
from fleet.worker.story.reader import Event, count, obj, shown, text


class GeminiReader:
    def __init__(self) -> None:
        self._session = self._model = self._error = ""
        self._words: list[str] = []
        self._answers = self._tools = 0
        self._in_answer = False
        self._usage = NOTHING
        self._ended = False

    def take(self, event: Event) -> None:
        match event.get("type"):
            case "init":
                self._session, self._model = text(event.get("session_id")), text(event.get("model"))
            case "message" if event.get("role") == "assistant":
                self._answer()
                self._words.append(text(event.get("content")))
            case "message" | "tool_result":
                self._in_answer = False
            case "tool_use":
                self._answer()
                self._tools += 1
            case "result":
                self._end(event)

    def _answer(self) -> None:
        if not self._in_answer:
            self._in_answer = True
            self._answers += 1
            self._words.clear()

    def _end(self, event: Event) -> None:
        self._ended = True
        if event.get("status") != "success":
            said = shown(obj(event.get("error")).get("message"))
            self._error = said or shown(event.get("status")) or "it does not say why"
        stats = obj(event.get("stats"))
        read = count(stats.get("cached"))
        self._usage = Usage(
            input=max(count(stats.get("input_tokens")) - read, 0),
            cache_read=read,
            output=count(stats.get("output_tokens")),
        )

    @property
    def story(self) -> Story:
        return Story(
            session=self._session,
            model=self._model,
            turns=self._answers,
            tool_calls=self._tools,
            usage=self._usage,
            ended=self._ended,
            error=self._error,
            said=shown("".join(self._words)),
        )
