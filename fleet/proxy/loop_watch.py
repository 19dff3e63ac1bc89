"""Looks at what attempts are answered, for signs that their agents go round in circles."""

from __future__ import annotations

import re
from hashlib import blake2b

from fleet.proxy.dialects.dialect import Endpoint
from fleet.proxy.dialects.lenient import Object, arr, dumps, members_of, obj, text
from fleet.proxy.flight import Flight
from fleet.proxy.pressure.loops import Loops
from fleet.proxy.reports import Reports
from fleet.proxy.sse import data_of

TURNS = frozenset({Endpoint.MESSAGES, Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.GENERATE})
COUNTED = 5  # turns, between two times that the worker is told how many there were
LARGEST = 256 << 10  # bytes of an answer that is looked through
MOST_ATTEMPTS = 4096

# In the streams of all dialects but Gemini's, a tool call is its name and pieces of a text of JSON.
_PIECES = re.compile(
    rb'"(?:partial_json|arguments)" ?: ?"((?:[^"\\]|\\.)*)"'
    rb'|"(?:tool_use|function_call|function)"[^{}]{0,400}?"name" ?: ?"([^"]{1,200})"'
    rb'|"function" ?: ?\{ ?"name" ?: ?"([^"]{1,200})"'
)
_CALLS = (b"tool_use", b"tool_calls", b"function_call", b"functionCall")
LAST = 4  # events, in which a stream says that its answer calls tools


class LoopWatch:
    def __init__(self, loops: Loops, reports: Reports) -> None:
        self.loops = loops
        self._reports = reports
        self._turns: dict[str, int] = {}

    def answered(self, flight: Flight, now: float) -> None:
        """A complete answer for an attempt."""
        plan, caller, usage = flight.plan, flight.caller, flight.usage
        if plan.asked.endpoint not in TURNS or flight.status != 200:
            return
        turns = self._turns.pop(caller.key, 0) + 1
        self._turns[caller.key] = turns
        if len(self._turns) > MOST_ATTEMPTS:
            del self._turns[next(iter(self._turns))]
        if turns % COUNTED == 0:
            self._reports.turns(caller, turns)
        why = self.loops.answered(
            caller.key,
            plan.session.decode("latin-1"),
            calls=tool_calls(flight),
            tokens=usage.total_input - usage.cache_read + usage.output,
            now=now,
        )
        if why:
            self._reports.stuck(caller, why)


def tool_calls(flight: Flight) -> bytes:
    """A digest of the tool calls of an answer, whatever their ids; b"" if there are none."""
    last = flight.log[-LAST:]
    if flight.bytes_in > LARGEST or not any(word in piece for piece in last for word in _CALLS):
        return b""
    if flight.splitter is None:
        found = _in_body(flight.whole())
    elif flight.plan.asked.endpoint is Endpoint.GENERATE:
        found = _gemini([members_of(data_of(event)) or {} for event in flight.log if event])
    else:
        found = b"".join(b"".join(pieces) for pieces in _PIECES.findall(flight.whole()))
    return blake2b(found, digest_size=16).digest() if found else b""


def _in_body(body: bytes) -> bytes:
    answer = members_of(body) or {}
    calls: list[object] = []
    for part in arr(answer.get("content")):  # Anthropic
        if obj(part).get("type") == "tool_use":
            calls.append((obj(part).get("name"), obj(part).get("input")))
    for choice in arr(answer.get("choices")):  # Chat
        for call in arr(obj(obj(choice).get("message")).get("tool_calls")):
            calls.append(obj(call).get("function"))
    for item in arr(answer.get("output")):  # Responses
        if text(obj(item).get("type")).endswith("_call"):
            calls.append(
                (obj(item).get("name"), obj(item).get("arguments"), obj(item).get("input"))
            )
    return dumps(calls) if calls else _gemini([answer])


def _gemini(answers: list[Object]) -> bytes:
    calls = []
    for answer in answers:
        for candidate in arr(answer.get("candidates")):
            for part in arr(obj(obj(candidate).get("content")).get("parts")):
                call = obj(obj(part).get("functionCall"))
                if call:
                    calls.append((call.get("name"), call.get("args")))
    return dumps(calls) if calls else b""
