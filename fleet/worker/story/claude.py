"""Claude Code's `--output-format stream-json`.

`system/init` names the session, `assistant` carries one block of an answer each, `result` ends it.
A result may say `subtype: "success"` and `is_error: true` at once: only the latter is believed.
"""

from __future__ import annotations

from functools import reduce

from fleet.core.story import Story
from fleet.core.traffic import plus
from fleet.core.usage import NOTHING, Usage
from fleet.worker.story.reader import Event, count, items, money, obj, shown, text


class ClaudeReader:
    def __init__(self) -> None:
        self._session = self._model = self._error = self._said = ""
        self._answers: dict[str, Usage] = {}  # by message: each of its blocks repeats its usage
        self._tools: set[str] = set()
        self._result: Event | None = None

    def take(self, event: Event) -> None:
        self._session = self._session or text(event.get("session_id"))
        kind = event.get("type")
        if kind == "system" and event.get("subtype") == "init":
            self._model = text(event.get("model"))
        elif kind == "assistant":
            self._result = None  # it goes on: there was one more message for it
            self._answer(obj(event.get("message")))
        elif kind == "result":
            self._result = event

    def _answer(self, message: Event) -> None:
        self._answers[text(message.get("id"))] = _usage(obj(message.get("usage")))
        for block in items(message.get("content")):
            if block.get("type") == "tool_use":
                self._tools.add(text(block.get("id")))
            elif block.get("type") == "text":
                self._said = shown(block.get("text")) or self._said

    @property
    def story(self) -> Story:
        result = self._result if self._result is not None else {}
        spent = _usage(obj(result.get("usage"))) or reduce(plus, self._answers.values(), NOTHING)
        failed = result.get("is_error") is True
        return Story(
            session=self._session,
            model=self._model,
            turns=len(self._answers),
            tool_calls=len(self._tools),
            usage=spent,
            cost_usd=money(result.get("total_cost_usd")),
            ended=self._result is not None,
            error=shown(result.get("result")) or shown(result.get("subtype")) if failed else "",
            said=self._said,
        )


def _usage(counts: Event) -> Usage:
    created = obj(counts.get("cache_creation"))
    hour = count(created.get("ephemeral_1h_input_tokens"))
    return Usage(
        input=count(counts.get("input_tokens")),
        cache_read=count(counts.get("cache_read_input_tokens")),
        cache_write_5m=max(count(counts.get("cache_creation_input_tokens")) - hour, 0),
        cache_write_1h=hour,
        output=count(counts.get("output_tokens")),
    )
