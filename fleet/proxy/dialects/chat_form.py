"""A Chat Completions answer from one form into the other: a stream of chunks, or one body.

Members of chunks, choices and deltas that nobody here knows are carried over: texts are joined,
lists extended, of all else the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet.proxy.dialects.lenient import (
    Object,
    arr,
    index,
    loads,
    members_of,
    obj,
    text,
    unnamed,
)
from fleet.proxy.dialects.lenient import dumps as _dumps
from fleet.proxy.sse import data_of, events_of

_DONE = b"data: [DONE]\n\n"
_NOT_OF_THE_BODY = ("choices", "usage", "object", "obfuscation", "timings")
_FIXED = frozenset({"role", "id", "type", "name"})  # said once, or the same each time


class _Broken(Exception):
    """The stream does not add up."""


def fold(events: Sequence[bytes]) -> bytes | None:
    head: Object = {"object": "chat.completion"}
    tail: Object = {}
    choices: dict[int, _Choice] = {}
    for one in events_of(events):
        data = data_of(one)
        if data == b"[DONE]":
            break
        members = members_of(data) if data else {}
        if members is None or members.get("error"):
            return None
        for name, value in members.items():
            if name not in _NOT_OF_THE_BODY and head.get(name) is None:
                head[name] = value
            elif name in ("usage", "timings") and value is not None:
                tail[name] = value
        for choice in arr(members.get("choices")):
            at = max(index(obj(choice).get("index")), 0)
            choices.setdefault(at, _Choice()).take(obj(choice))
    else:
        return None  # nothing said that this was all
    try:
        bodies = [{"index": at, **choices[at].body()} for at in sorted(choices)]
    except _Broken:
        return None
    return _dumps({**head, "choices": bodies, **tail}) if bodies else None


class _Choice:
    """One choice as far as it has come."""

    def __init__(self) -> None:
        self.message: Object = {"role": "assistant", "content": None}
        self.calls: dict[int, Object] = {}
        self.rest: Object = {}

    def take(self, choice: Object) -> None:
        for name, value in choice.items():
            if name == "delta":
                delta = dict(obj(value))
                for call in arr(delta.pop("tool_calls", None)):
                    self._call(dict(obj(call)))
                _grow(self.message, delta)
            elif name == "logprobs":
                logprobs = self.rest.get(name)
                self.rest[name] = _grown(dict(obj(logprobs)), obj(value)) if value else logprobs
            elif name != "index" and (value is not None or name not in self.rest):
                self.rest[name] = value

    def _call(self, call: Object) -> None:
        at = index(call.pop("index", None))
        if at < 0:  # some servers leave it out: a call that names itself is a new one
            at = len(self.calls) - (0 if call.get("id") or not self.calls else 1)
        _grow(self.calls.setdefault(at, {}), call)

    def body(self) -> Object:
        if not self.rest.get("finish_reason"):
            raise _Broken
        message = dict(self.message)
        if self.calls:
            calls = [self.calls[at] for at in sorted(self.calls)]
            message["tool_calls"] = calls
        functions = [*(obj(call.get("function")) for call in self.calls.values())]
        for function in (*functions, obj(message.get("function_call"))):
            _check(text(function.get("arguments")))
        finish = self.rest.pop("finish_reason")
        return {"message": message, **self.rest, "finish_reason": finish}


def _check(arguments: str) -> None:
    """Some servers say nothing where there are no arguments, whole or streamed."""
    if not arguments:
        return
    try:
        loads(arguments)
    except ValueError:
        raise _Broken from None


def _grow(whole: Object, part: Object) -> None:
    _grown(whole, part)


def _grown(whole: Object, part: Object) -> Object:
    for name, value in part.items():
        old = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif isinstance(value, str) and isinstance(old, str):
            whole[name] = (old or value) if name in _FIXED else old + value
        elif isinstance(value, list) and isinstance(old, list):
            whole[name] = old + value
        elif isinstance(value, dict):
            whole[name] = _grown(dict(obj(old)), value)
        else:
            whole[name] = value
    return whole


def unfold(body: bytes) -> tuple[bytes, ...] | None:
    members = members_of(body)
    if members is None or members.get("object") != "chat.completion":
        return None
    choices = members.get("choices")
    if not isinstance(choices, list) or not choices:
        return None
    if not all(isinstance(obj(one).get("message"), dict) for one in choices):
        return None
    return tuple(_events(members, choices))


def _events(members: Object, choices: list[Object]) -> Iterator[bytes]:
    head: Object = {"object": "chat.completion.chunk"}
    head.update((key, value) for key, value in members.items() if key not in _NOT_OF_THE_BODY)
    for place, choice in enumerate(choices):
        at = index(choice.get("index")) if index(choice.get("index")) >= 0 else place
        rest = {k: v for k, v in choice.items() if k not in ("index", "message", "finish_reason")}
        for delta in _deltas(obj(choice["message"])):
            yield unnamed(
                {**head, "choices": [{"index": at, "delta": delta, "finish_reason": None}]}
            )
        finish = {"finish_reason": choice.get("finish_reason") or "stop"}
        yield unnamed({**head, "choices": [{"index": at, "delta": {}, **rest, **finish}]})
    last = {name: members[name] for name in ("usage", "timings") if obj(members.get(name))}
    if last:
        yield unnamed({**head, "choices": [], **last})
    yield _DONE


def _deltas(message: Object) -> Iterator[Object]:
    """First who speaks, then what is said, then what is called: each call named, then argued."""
    content = message.get("content")
    calls = [obj(call) for call in arr(message.get("tool_calls"))]
    said = {k: v for k, v in message.items() if k not in ("role", "content", "tool_calls")}
    first: Object = {"role": text(message.get("role")) or "assistant"}
    yield {**first, "content": "" if isinstance(content, str) else None}
    if reasoning := {k: said.pop(k) for k in ("reasoning_content", "reasoning") if said.get(k)}:
        yield reasoning
    if content:
        yield {"content": content}
    if said:
        yield said
    for at, call in enumerate(calls):
        function = call.get("function")
        if not isinstance(function, dict):
            yield {"tool_calls": [{"index": at, **call}]}
            continue
        named = {**call, "function": {**function, "arguments": ""}}
        yield {"tool_calls": [{"index": at, **named}]}
        argued = {"function": {"arguments": text(function.get("arguments"))}}
        yield {"tool_calls": [{"index": at, **argued}]}
