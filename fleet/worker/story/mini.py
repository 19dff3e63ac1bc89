"""The JSON lines of `agents/mini.py`: start, assistant, tool, tool_result, retry, result."""

from __future__ import annotations

from fleet.core.story import Story
from fleet.core.usage import Usage
from fleet.worker.story.reader import Event, count, obj, shown, text


class MiniReader:
    def __init__(self) -> None:
        self._model = self._said = ""
        self._tools = 0
        self._result: Event | None = None

    def take(self, event: Event) -> None:
        match event.get("type"):
            case "start":
                self._model = text(event.get("model"))
            case "assistant":
                self._said = shown(event.get("text"))
            case "tool":
                self._tools += 1
            case "result":
                self._result = event

    @property
    def story(self) -> Story:
        result = self._result if self._result is not None else {}
        counts = obj(result.get("usage"))
        return Story(
            model=self._model,
            turns=count(result.get("turns")),
            tool_calls=self._tools,
            usage=Usage(
                input=count(counts.get("input_tokens")),
                cache_read=count(counts.get("cache_read_input_tokens")),
                cache_write_5m=count(counts.get("cache_creation_input_tokens")),
                output=count(counts.get("output_tokens")),
            ),
            ended=self._result is not None,
            error=shown(result.get("error")),
            said=self._said,
        )
