"""opencode's `run --format json`: steps, each one answer of the model, with what it took.

There is no last event: a step that ends for another reason than tool calls is the last one, unless
an error follows.
"""

from __future__ import annotations

from fleet.core.story import Story
from fleet.core.traffic import plus
from fleet.core.usage import NOTHING, Usage
from fleet.worker.story.reader import Event, count, money, obj, shown, text

GOES_ON = "tool-calls"


class OpencodeReader:
    def __init__(self) -> None:
        self._session = self._error = self._said = ""
        self._steps = self._tools = 0
        self._usage = NOTHING
        self._cost = 0.0
        self._ended = False

    def take(self, event: Event) -> None:
        self._session = self._session or text(event.get("sessionID"))
        part = obj(event.get("part"))
        match event.get("type"):
            case "tool_use":
                self._tools += 1
            case "text":
                self._said = shown(part.get("text")) or self._said
            case "step_finish":
                self._steps += 1
                self._usage = plus(self._usage, _usage(obj(part.get("tokens"))))
                self._cost += money(part.get("cost")) or 0.0
                self._ended = part.get("reason") != GOES_ON
                self._error = ""  # it went on
            case "error":
                self._ended = True
                self._error = _why(obj(event.get("error")))

    @property
    def story(self) -> Story:
        return Story(
            session=self._session,
            turns=self._steps,
            tool_calls=self._tools,
            usage=self._usage,
            cost_usd=self._cost or None,  # it says 0 where it knows no price
            ended=self._ended,
            error=self._error,
            said=self._said,
        )


def _why(error: Event) -> str:
    said = shown(obj(error.get("data")).get("message")) or shown(error.get("message"))
    return said or shown(error.get("name")) or "it does not say why"


def _usage(counts: Event) -> Usage:
    cache = obj(counts.get("cache"))
    return Usage(
        input=count(counts.get("input")),
        cache_read=count(cache.get("read")),
        cache_write_5m=count(cache.get("write")),
        output=count(counts.get("output")) + count(counts.get("reasoning")),
        reasoning=count(counts.get("reasoning")),
    )
