"""Conversations in which a model calls tools, held with the official SDKs."""

from __future__ import annotations

import json
from typing import Any

from tests.proxy.sdk_sides import TOOLS, Json, Way, asked

Turns = tuple[list[Json], list[str]]  # whole answers, and what they say
PRINTED = "1 failed"


async def talk(way: Way, name: str, prompt: str, *, stream: bool) -> Turns:
    """Until no tool is called any more; every call of one has printed the same."""
    speak = {"messages": _messages, "chat": _chat, "responses": _responses}[name]
    turns: list[Json] = []
    said: list[str] = []
    history: list[Any] = [{"role": "user", "content": prompt}]
    more = True
    while more:
        answer, more = await speak(way, history, said, stream)
        turns.append(answer)
    return turns, said


async def _messages(
    way: Way, history: list[Any], said: list[str], stream: bool
) -> tuple[Json, bool]:
    ask = asked("messages", "", messages=history, tools=[TOOLS["messages"]])
    if stream:
        async with way.api("messages").stream(**ask) as events:
            message = await events.get_final_message()
    else:
        message = await way.ask("messages", **ask)
    said += [block.text for block in message.content if block.type == "text"]
    calls = [block for block in message.content if block.type == "tool_use"]
    said += [f"${call.input['command']}" for call in calls]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": PRINTED} for call in calls
    ]
    history += [{"role": "assistant", "content": message.content}]
    history += [{"role": "user", "content": results}]
    return message.model_dump(), bool(calls)


async def _chat(way: Way, history: list[Any], said: list[str], stream: bool) -> tuple[Json, bool]:
    ask = asked("chat", "", messages=history, tools=[TOOLS["chat"]])
    if stream:
        options = {"include_usage": True}
        async with way.api("chat").stream(**ask, stream_options=options) as events:
            whole = await events.get_final_completion()
    else:
        whole = await way.ask("chat", **ask)
    message = whole.choices[0].message
    calls = message.tool_calls or []
    said += [message.content] if message.content else []
    said += [f"${_command(call.function.arguments)}" for call in calls]
    history += [message.model_dump(exclude_none=True, exclude={"parsed"})]
    history += [{"role": "tool", "tool_call_id": call.id, "content": PRINTED} for call in calls]
    return whole.model_dump(), bool(calls)


async def _responses(
    way: Way, history: list[Any], said: list[str], stream: bool
) -> tuple[Json, bool]:
    ask = asked("responses", "", input=history, tools=[TOOLS["responses"]], store=False)
    if stream:
        async with way.api("responses").stream(**ask) as events:
            response = await events.get_final_response()
    else:
        response = await way.ask("responses", **ask)
    calls = [item for item in response.output if item.type == "function_call"]
    said += [response.output_text] if response.output_text else []
    said += [f"${_command(call.arguments)}" for call in calls]
    history += [item.model_dump(exclude_none=True) for item in response.output]
    history += [
        {"type": "function_call_output", "call_id": call.call_id, "output": PRINTED}
        for call in calls
    ]
    return response.model_dump(), bool(calls)


def _command(arguments: str) -> str:
    return str(json.loads(arguments)["command"])
