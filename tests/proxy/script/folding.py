"""What a strict client makes of each dialect's stream: the body it would have got without one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


def fold(dialect: str, events: list[Json]) -> Json:
    folds = {
        "anthropic": _anthropic,
        "chat": _chat,
        "responses": _responses,
        "gemini": _gemini,
    }
    return folds[dialect](events)


@dataclass
class Said:
    """The content of a body, in the same words for every dialect."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, Json]] = field(default_factory=list)


def said(dialect: str, body: Json) -> Said:
    found = Said()
    if dialect == "anthropic":
        for block in body["content"]:
            found.text += block.get("text", "")
            found.thinking += block.get("thinking", "")
            if block["type"] == "tool_use":
                found.calls.append((block["name"], block["input"]))
    elif dialect == "chat":
        message = body["choices"][0]["message"]
        found.text, found.thinking = message["content"] or "", message.get("reasoning_content", "")
        for call in message.get("tool_calls", []):
            function = call["function"]
            found.calls.append((function["name"], json.loads(function["arguments"])))
    elif dialect == "responses":
        for item in body["output"]:
            found.text += "".join(part["text"] for part in item.get("content", []))
            found.thinking += "".join(part["text"] for part in item.get("summary", []))
            if item["type"] == "function_call":
                found.calls.append((item["name"], json.loads(item["arguments"])))
    else:
        for part in body["candidates"][0]["content"]["parts"]:
            if "functionCall" in part:
                found.calls.append((part["functionCall"]["name"], part["functionCall"]["args"]))
            elif part.get("thought"):
                found.thinking += part["text"]
            else:
                found.text += part["text"]
    return found


def _anthropic(events: list[Json]) -> Json:
    assert [e["type"] for e in events].count("message_start") == 1
    message: Json = events[0]["message"]
    assert events[-1]["type"] == "message_stop"
    opened = -1
    texts: dict[int, str] = {}
    for event in events[1:-1]:
        kind = event["type"]
        if kind == "content_block_start":
            assert opened == -1 and event["index"] == len(message["content"])
            opened = event["index"]
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            assert event["index"] == opened
            block, delta = message["content"][opened], event["delta"]
            for key, value in delta.items():
                if key == "partial_json":
                    texts[opened] = texts.get(opened, "") + value
                elif key != "type":
                    block[key] += value
        elif kind == "content_block_stop":
            if opened in texts:
                message["content"][opened]["input"] = json.loads(texts[opened])
            opened = -1
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
        else:
            assert kind == "ping"
    return message


def _chat(events: list[Json]) -> Json:
    first = events[0]
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    body = {**first, "object": "chat.completion"}
    calls: list[Json] = []
    reason = None
    for event in events:
        assert event["id"] == first["id"] and event["object"] == "chat.completion.chunk"
        if not event["choices"]:
            body["usage"] = event["usage"]
            continue
        choice = event["choices"][0]
        delta, reason = choice["delta"], choice["finish_reason"]
        for key in ("content", "reasoning_content"):
            if delta.get(key):
                message[key] = (message.get(key) or "") + delta[key]
        for part in delta.get("tool_calls", []):
            if part["index"] == len(calls):
                calls.append({key: value for key, value in part.items() if key != "index"})
            else:
                calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {**body, "choices": [choice]}


def _responses(events: list[Json]) -> Json:
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"]
    items: list[Json] = []
    deltas: dict[int, str] = {}
    for event in events[2:-1]:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(items)
            items.append(event["item"])
        elif kind.endswith(".delta"):
            assert event["item_id"] == items[event["output_index"]]["id"]
            index = event["output_index"]
            deltas[index] = deltas.get(index, "") + event["delta"]
        elif kind in ("response.output_text.done", "response.reasoning_summary_text.done"):
            assert event["text"] == deltas[event["output_index"]]
        elif kind == "response.function_call_arguments.done":
            assert event["arguments"] == deltas[event["output_index"]]
        elif kind == "response.output_item.done":
            items[event["output_index"]] = event["item"]
    body: Json = events[-1]["response"]
    assert body["output"] == items
    assert body["id"] == events[0]["response"]["id"]
    assert events[-1]["type"] == f"response.{body['status']}"
    return body


def _gemini(events: list[Json]) -> Json:
    parts: list[Json] = []
    for event in events:
        for part in event["candidates"][0]["content"]["parts"]:
            like = parts and "text" in part and parts[-1].get("thought") == part.get("thought")
            if like and "text" in parts[-1]:
                parts[-1]["text"] += part["text"]
            elif part.get("text") != "":
                parts.append(part)
    *_, last = events
    candidate = {**last["candidates"][0], "content": {"parts": parts, "role": "model"}}
    return {**last, "candidates": [candidate]}
