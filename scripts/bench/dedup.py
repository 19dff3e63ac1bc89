"""What deduplication costs before any call is saved: python scripts/bench/dedup.py

Every figure is the least of many short rounds, taken in turns with its baseline. A body's figures
are multiples of one SHA-256 of it (`hashlib.sha256(body).digest()`); the rest is in ns.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fleet.proxy.affinity import ranked
from fleet.proxy.cache import Cache
from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Dialect
from fleet.proxy.dialects.responses import Responses
from fleet.proxy.fingerprint import Fingerprints
from fleet.proxy.stage import Priority, Room
from fleet.proxy.warmth import PrefixKey, Ticket, Warmth

Body = dict[str, object]
Run = Callable[[], object]

SIZES = {"2 KB": 2_000, "76 KB": 76_000, "0.8 MB": 800_000}
ROUND_S = 0.002  # short: a round without an interruption is what is looked for
ROUNDS = 300
SYSTEM_SHARE, TOOLS_SHARE = 0.2, 0.5  # of a body before its conversation has grown
MOST_FIXED = 50_000  # bytes of system and tools together; the rest is conversation

_TEXT = (
    "the a file is read written tests run return value def class import self error line path "
    "agent must never always edit search (a, b) = {x: 1}; \"quoted\" 'single' \n    if not None:\n"
)
_WORDS = _TEXT.split(" ")
_rng = random.Random(1)


def _prose(length: int) -> str:
    text = " ".join(_rng.choices(_WORDS, k=length // 5 + 1))
    return text[:length]


def _schema(length: int) -> Body:
    properties = {
        f"option_{n}": {"type": "string", "description": _prose(max(length // 3 - 40, 5))}
        for n in range(2)
    }
    return {"type": "object", "properties": properties, "required": ["option_0"]}


def _turns(length: int) -> list[tuple[str, str]]:
    count = max(length // 2000, 1)
    roles = itertools.cycle(("user", "assistant"))
    return [(next(roles), _prose(length // count)) for _ in range(count)]


def _anthropic(size: int) -> Body:
    fixed = min(size, MOST_FIXED)
    mark: Body = {"cache_control": {"type": "ephemeral"}}
    tool = int(fixed * TOOLS_SHARE) // 24
    tools = (
        [
            {"name": f"Tool{n}", "description": _prose(tool // 2), "input_schema": _schema(tool)}
            for n in range(24)
        ]
        if size > 10_000
        else []
    )
    system = _prose(int(fixed * SYSTEM_SHARE))
    turns = _turns(size - len(json.dumps(tools)) - len(system) - 700)
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
    return {
        "model": "claude-sonnet-4-5",
        "messages": messages,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.190;"},
            {"type": "text", "text": system, **mark},
        ],
        "tools": tools,
        "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "session_id": "s" * 36})},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive"},
        "stream": True,
    }


def _chat(size: int) -> Body:
    fixed = min(size, MOST_FIXED)
    tool = int(fixed * TOOLS_SHARE) // 12
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{n}",
                "description": _prose(tool // 2),
                "parameters": _schema(tool),
            },
        }
        for n in range(12 if size > 10_000 else 0)
    ]
    turns = [("system", _prose(int(fixed * SYSTEM_SHARE)))]
    turns += _turns(size - len(json.dumps(tools)) - len(turns[0][1]) - 300)
    return {
        "model": "gpt-5",
        "messages": [{"role": role, "content": text} for role, text in turns],
        "tools": tools,
        "max_completion_tokens": 8192,
        "stream": True,
        "stream_options": {"include_usage": True},
        "prompt_cache_key": "k" * 36,
    }


def _responses(size: int) -> Body:
    fixed = min(size, MOST_FIXED)
    tool = int(fixed * TOOLS_SHARE) // 12
    tools = [
        {"type": "function", "name": f"t{n}", "strict": False, "parameters": _schema(tool)}
        for n in range(12 if size > 10_000 else 0)
    ]
    instructions = _prose(int(fixed * SYSTEM_SHARE))
    items: list[Body] = []
    for number, (role, text) in enumerate(
        _turns(size - len(json.dumps(tools)) - len(instructions) - 700)
    ):
        own, half = f"msg_{number:036d}", len(text) // 2
        content = [{"type": "input_text", "text": text[:half]}]
        items.append({"type": "message", "id": own, "role": role, "content": content})
        items.append(
            {"type": "function_call_output", "call_id": f"c{number}", "output": text[half:]}
        )
    return {
        "model": "gpt-5",
        "instructions": instructions,
        "input": items,
        "tools": tools,
        "reasoning": {"effort": "medium"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k" * 36,
        "client_metadata": {"session_id": "s" * 36, "thread_id": "t" * 36},
    }


def _seconds(run: Run, times: int) -> float:
    began = time.perf_counter()
    for _ in itertools.repeat(None, times):
        run()
    return (time.perf_counter() - began) / times


def _least(*runs: Run) -> list[float]:
    """The least time of each, in turns, so that a noisy neighbour meets them all."""
    times = [max(int(ROUND_S / _seconds(run, 3)), 1) for run in runs]
    least = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for at, run in enumerate(runs):
            least[at] = min(least[at], _seconds(run, times[at]))
    return least


def _one_body(dialect: Dialect, path: str, body: bytes) -> list[float]:
    fingerprints, others, new = Fingerprints(), Fingerprints(), itertools.count()
    return _least(
        lambda: hashlib.sha256(body).digest(),
        lambda: fingerprints.look(dialect, path, "same", body),
        lambda: others.look(dialect, path, str(next(new)), body),
    )


def _bodies() -> None:
    print(f"{'body':24}{'bytes':>9}{'SHA-256':>11}{'repeated':>10}{'first sight':>13}")
    kinds: tuple[tuple[Dialect, Callable[[int], Body], str], ...] = (
        (Anthropic(), _anthropic, "/v1/messages"),
        (Chat(), _chat, "/v1/chat/completions"),
        (Responses(), _responses, "/v1/responses"),
    )
    for (dialect, make, path), (label, size) in itertools.product(kinds, SIZES.items()):
        body = json.dumps(make(size), separators=(",", ":")).encode()
        baseline, again, first = _one_body(dialect, path, body)
        print(
            f"{dialect.name + ' ' + label:24}{len(body):>9}{baseline * 1e6:>8.1f} µs"
            f"{again / baseline:>9.2f}x{first / baseline:>12.2f}x{first * 1e6:>10.0f} µs"
        )


def _rest() -> None:
    rng, body = random.Random(1), json.dumps(_anthropic(76_000)).encode()
    fingerprints = Fingerprints()
    seen = fingerprints.look(Anthropic(), "/v1/messages", "", body)
    headers = (
        *((b"x-header-%d" % n, b"value") for n in range(14)),
        (b"anthropic-version", b"2023-06-01"),
        (b"anthropic-beta", b"claude-code-20250219,interleaved-thinking-2025-05-14"),
    )

    def key() -> object:
        return fingerprints.key(seen, upstream="anthropic", scope=b"0", headers=headers, query="")

    bare: dict[object, object] = {seen.digest: 1, key(): 1}
    cache: Cache[int] = Cache(ttl_s=1e9, most_bytes=1 << 20, most_item_bytes=1 << 10)
    for one in bare:
        cache.put(one, 1, 1, 0.0, rng)
    room = Room("inference", 1024)
    enter, leave, normal = room.enter, room.leave, Priority.NORMAL
    warmth, ticket = Warmth(), Ticket(lambda: None)
    gate = PrefixKey(b"p" * 32, "anthropic", "claude-sonnet-4-5")
    warmth.answered(gate, ticket, 0.0)
    names = ("one", "two", "three")

    def visit() -> None:
        enter(normal, 0.0, visit)
        leave(0.0, 0.01)

    whole, digest = key(), seen.digest
    rows: dict[str, Run] = {
        "an empty call": lambda: None,
        "dict.get, by digest": lambda: bare.get(digest),
        "TTL hit, by digest": lambda: cache.get(digest, 1.0),
        "dict.get, by key": lambda: bare.get(whole),
        "TTL hit, by key": lambda: cache.get(whole, 1.0),
        "key of a request": key,
        "room: enter and leave": visit,
        "warmth: ask when warm": lambda: warmth.ask(gate, ticket, 1.0),
        "affinity: order of three": lambda: ranked(b"session", names),
    }
    empty, *least = _least(*rows.values())
    print(f"\nnet of {empty * 1e9:.0f} ns for an empty call:")
    for name, seconds in zip(list(rows)[1:], least, strict=True):
        print(f"{name:28}{(seconds - empty) * 1e9:>7.0f} ns")


if __name__ == "__main__":
    _bodies()
    _rest()
