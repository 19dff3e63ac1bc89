"""A Responses answer from one form into the other: a stream of events, or one body.

The last event of a stream holds the whole answer, so folding is taking it out. Some servers leave
its `output` empty; then the items that were reported done are put there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet.proxy.dialects.lenient import (
    Object,
    arr,
    dumps,
    event,
    index,
    loads,
    members_of,
    obj,
    text,
)
from fleet.proxy.sse import data_of, events_of

_ENDS = {"completed": "response.completed", "incomplete": "response.incomplete"}
_LATER = ("usage", "completed_at", "incomplete_details")  # members an answer has when it is over


def fold(events: Sequence[bytes]) -> bytes | None:
    items: dict[int, object] = {}
    for one in events_of(events):
        data = data_of(one)
        members = members_of(data) if data else {}
        if members is None:
            return None
        match members.get("type"):
            case "response.output_item.done":
                items[index(members.get("output_index"))] = members.get("item")
            case "response.completed" | "response.incomplete":
                return _whole(obj(members.get("response")), [items[at] for at in sorted(items)])
            case "response.failed" | "error":
                return None
    return None


def _whole(response: Object, items: list[object]) -> bytes | None:
    if not response:
        return None
    if not arr(response.get("output")) and items:
        response = {**response, "output": items}
    for item in arr(response.get("output")):
        if not _parses(obj(item)):
            return None
    return dumps(response)


def _parses(item: Object) -> bool:
    """Some servers say nothing where there are no arguments, whole or streamed."""
    arguments = text(item.get("arguments"))
    if item.get("type") != "function_call" or not arguments:
        return True
    try:
        loads(arguments)
    except ValueError:
        return False
    return True


def unfold(body: bytes) -> tuple[bytes, ...] | None:
    response = members_of(body)
    if response is None or response.get("object") != "response":
        return None
    output = response.get("output")
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        return None
    last = _ENDS.get(text(response.get("status")))
    if last is None:
        return None
    return tuple(
        event(kind, {"type": kind, "sequence_number": number, **members})
        for number, (kind, members) in enumerate(_events(response, output, last))
    )


Said = Iterator[tuple[str, Object]]  # the type of an event, and its other members


def _events(response: Object, output: list[Object], last: str) -> Said:
    begun = {**response, "status": "in_progress", "output": []}
    begun.update((name, None) for name in _LATER if name in response)
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for at, item in enumerate(output):
        place: Object = {"item_id": text(item.get("id")), "output_index": at}
        yield "response.output_item.added", {"output_index": at, "item": _empty(item)}
        yield from _inside(item, place)
        yield "response.output_item.done", {"output_index": at, "item": item}
    yield last, {"response": response}


def _empty(item: Object) -> Object:
    """An item as it is announced."""
    match item.get("type"):
        case "message":
            return {**item, "status": "in_progress", "content": []}
        case "reasoning":
            begun: Object = {**item, "summary": []}
            return {**begun, "content": []} if arr(item.get("content")) else begun
        case "function_call":
            return {**item, "status": "in_progress", "arguments": ""}
        case "custom_tool_call":
            return {**item, "input": ""}
        case _:
            return item


def _inside(item: Object, place: Object) -> Said:
    match item.get("type"):
        case "message":
            for at, part in enumerate(arr(item.get("content"))):
                yield from _part(obj(part), {**place, "content_index": at})
        case "reasoning":
            yield from _reasoning(item, place)
        case "function_call":
            name = "response.function_call_arguments"
            said = text(item.get("arguments"))
            yield f"{name}.delta", {**place, "delta": said}
            yield f"{name}.done", {**place, "arguments": said, "name": text(item.get("name"))}
        case "custom_tool_call":
            name, said = "response.custom_tool_call_input", text(item.get("input"))
            yield f"{name}.delta", {**place, "delta": said}
            yield f"{name}.done", {**place, "input": said}


def _part(part: Object, place: Object) -> Said:
    match part.get("type"):
        case "output_text":
            begun: Object = {**part, "text": "", "annotations": []}
            said, logprobs = text(part.get("text")), arr(part.get("logprobs"))
            yield "response.content_part.added", {**place, "part": begun}
            yield "response.output_text.delta", {**place, "delta": said, "logprobs": logprobs}
            for at, annotation in enumerate(arr(part.get("annotations"))):
                noted = {**place, "annotation_index": at, "annotation": annotation}
                yield "response.output_text.annotation.added", noted
            yield "response.output_text.done", {**place, "text": said, "logprobs": logprobs}
        case "refusal":
            said = text(part.get("refusal"))
            yield "response.content_part.added", {**place, "part": {**part, "refusal": ""}}
            yield "response.refusal.delta", {**place, "delta": said}
            yield "response.refusal.done", {**place, "refusal": said}
        case _:
            yield "response.content_part.added", {**place, "part": part}
    yield "response.content_part.done", {**place, "part": part}


def _reasoning(item: Object, place: Object) -> Said:
    name = "response.reasoning_summary"
    for at, part in enumerate(arr(item.get("summary"))):
        here, said = {**place, "summary_index": at}, text(obj(part).get("text"))
        yield f"{name}_part.added", {**here, "part": {**obj(part), "text": ""}}
        yield f"{name}_text.delta", {**here, "delta": said}
        yield f"{name}_text.done", {**here, "text": said}
        yield f"{name}_part.done", {**here, "part": part}
    for at, part in enumerate(arr(item.get("content"))):
        here, said = {**place, "content_index": at}, text(obj(part).get("text"))
        yield "response.reasoning_text.delta", {**here, "delta": said}
        yield "response.reasoning_text.done", {**here, "text": said}
