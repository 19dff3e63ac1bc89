"""What is seen of tool calls in answers, as every dialect's providers send them."""

from __future__ import annotations

import asyncio
import json

import pytest

from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Asked, Dialect, Endpoint
from fleet.proxy.dialects.gemini import Gemini
from fleet.proxy.dialects.responses import Responses
from fleet.proxy.flight import Flight
from fleet.proxy.loop_watch import COUNTED, LoopWatch, tool_calls
from fleet.proxy.pressure.loops import Loops, Patience
from fleet.proxy.script import ScriptUpstream, parse
from fleet.proxy.wire import Outgoing
from tests.proxy.trips import trip
from tests.proxy.world import Heard

SCRIPT = """
[[rules]]
when = "words"
text = "I call the function tool_use, as in {{\\"arguments\\": 1}}."
[[rules]]
when = "other"
tool = "bash"
input = {{ command = "ls -la /tmp" }}
chars_per_piece = {chars}
[[rules]]
text = "Let me look."
tool = "bash"
input = {{ command = "cat \\"a file\\" | grep -c \\\\\\\\d" }}
chars_per_piece = {chars}
"""
WAYS: dict[str, tuple[Dialect, Endpoint, str]] = {
    "anthropic": (Anthropic(), Endpoint.MESSAGES, "/v1/messages"),
    "chat": (Chat(), Endpoint.CHAT, "/v1/chat/completions"),
    "responses": (Responses(), Endpoint.RESPONSES, "/v1/responses"),
    "gemini": (Gemini(), Endpoint.GENERATE, "/v1beta/models/m:{verb}"),
}

TOOLS: dict[str, list[dict[str, object]]] = {
    "anthropic": [{"name": "bash", "input_schema": {"type": "object"}}],
    "chat": [{"type": "function", "function": {"name": "bash"}}],
    "responses": [{"type": "function", "name": "bash"}],
    "gemini": [{"functionDeclarations": [{"name": "bash"}]}],
}


def answered(way: str, prompt: str, *, stream: bool, chars: int = 24) -> Flight:
    dialect, endpoint, path = WAYS[way]
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    body: dict[str, object] = {"model": "m", "max_tokens": 9, "stream": stream}
    body["tools"] = TOOLS[way]
    body["messages"] = [{"role": "user", "content": prompt}]
    if way == "responses":
        body["input"] = prompt
    if way == "gemini":
        contents = [{"role": "user", "parts": [{"text": prompt}]}]
        body = {"contents": contents, "tools": TOOLS[way]}
    outgoing = Outgoing("POST", path.format(verb=verb), (), json.dumps(body).encode())
    flight = trip(
        stream=stream, dialect=dialect, asked=Asked(endpoint=endpoint, model="m", stream=stream)
    ).flight

    async def play() -> None:
        ScriptUpstream(parse(SCRIPT.format(chars=chars).encode(), "m.toml")).send(outgoing, flight)
        async with asyncio.timeout(5):
            while not flight.is_over:
                await asyncio.sleep(0.001)

    asyncio.run(play())
    assert flight.status == 200
    return flight


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("way", WAYS)
def test_the_same_call_is_the_same_however_it_comes_and_another_is_another(
    way: str, stream: bool
) -> None:
    first = tool_calls(answered(way, "the same", stream=stream, chars=24))
    again = tool_calls(answered(way, "the same again", stream=stream, chars=5))
    other = tool_calls(answered(way, "other", stream=stream))
    assert first
    assert first == again
    assert other not in (b"", first)
    assert tool_calls(answered(way, "words", stream=stream)) == b""


def test_the_worker_is_told_how_many_answers_there_were_and_that_it_is_a_loop() -> None:
    told: list[int] = []

    class Counting(Heard):
        def turns(self, caller: object, turns: int) -> None:
            told.append(turns)

    reports = Counting()
    watch = LoopWatch(Loops(Patience(same_call=3)), reports)
    for turn in range(2 * COUNTED):
        flight = answered("anthropic", "the same", stream=True)
        flight.usage = flight.meter.usage
        watch.answered(flight, float(turn))
    assert told == [COUNTED, 2 * COUNTED]
    assert reports.said[0] == "stuck one.1: it made the same tool call 3 times in a row"
