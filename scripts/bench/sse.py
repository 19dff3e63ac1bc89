"""What reading a stream costs an event, and reading a request: microseconds, and ratios to SHA-256.

    .venv/bin/python scripts/bench/sse.py [--rounds 7]

Events arrive one a read, which is the dearest way. The baseline for requests is one
`hashlib.sha256` of the same body in the same run; prints only, asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import timeit
from collections.abc import Callable

import msgspec

from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Asked, Dialect, Endpoint
from fleet.proxy.sse import Splitter

EVENTS = 1000
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def event(members: dict[str, object], name: str = "", end: str = "\n") -> bytes:
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {json.dumps(members, separators=(',', ':'))}{end}{end}".encode()


def chat_delta(words: str) -> bytes:
    choice = {"index": 0, "delta": {"content": words}, "logprobs": None, "finish_reason": None}
    chunk: dict[str, object] = {
        "id": "chatcmpl-0123456789abcdefghijklmnop",
        "object": "chat.completion.chunk",
        "created": 1_755_555_555,
        "model": "gpt-large-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [choice],
        "usage": None,
    }
    return event(chunk)


def deltas(words: str) -> dict[str, tuple[Dialect, Endpoint, bytes]]:
    text: dict[str, object] = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": words},
    }
    said: dict[str, object] = {
        "type": "response.output_text.delta",
        "sequence_number": 17,
        "item_id": "msg_0123456789abcdef0123456789abcdef0123456789abcdef",
        "output_index": 0,
        "content_index": 0,
        "delta": words,
        "logprobs": [],
    }
    content = {"parts": [{"text": words}], "role": "model"}
    usage = {"promptTokenCount": 8123, "candidatesTokenCount": 17, "totalTokenCount": 8140}
    part: dict[str, object] = {
        "candidates": [{"content": content, "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini-pro",
    }
    return {
        "anthropic": (
            table.ANTHROPIC,
            Endpoint.MESSAGES,
            event(text, "content_block_delta"),
        ),
        "chat": (table.CHAT, Endpoint.CHAT, chat_delta(words)),
        "responses": (
            table.RESPONSES,
            Endpoint.RESPONSES,
            event(said, "response.output_text.delta"),
        ),
        "gemini (CRLF)": (table.GEMINI, Endpoint.GENERATE, event(part, end="\r\n")),
    }


def best(work: Callable[[], object], rounds: int, times: int) -> float:
    """Microseconds of the quickest round."""
    return min(timeit.repeat(work, repeat=rounds, number=times)) / times * 1e6


def of_streams(rounds: int) -> None:
    print(f"{'an event':24}{'split':>9}{'classify':>10}{'both':>8}{'8 a read':>10}  µs")
    for name, (dialect, endpoint, delta) in deltas(" and so it goes").items():
        meter = dialect.meter(Asked(endpoint=endpoint))
        splitter = Splitter()
        reads = [bytes(bytearray(delta)) for _ in range(EVENTS)]  # each its own object
        joined = [delta * 8 for _ in range(EVENTS // 8)]

        def split(
            reads: list[bytes] = reads, feed: Callable[[bytes], object] = splitter.feed
        ) -> None:
            for read in reads:
                feed(read)

        def classify(
            reads: list[bytes] = reads, judge: Callable[[bytes], object] = meter.event
        ) -> None:
            for read in reads:
                judge(read)

        def both(
            reads: list[bytes],
            feed: Callable[[bytes], list[bytes]] = splitter.feed,
            judge: Callable[[bytes], object] = meter.event,
        ) -> None:
            for read in reads:
                for one in feed(read):
                    judge(one)

        costs = (
            best(split, rounds * 8, 2) / EVENTS,
            best(classify, rounds * 8, 2) / EVENTS,
            best(lambda reads=reads: both(reads), rounds * 8, 2) / EVENTS,  # type: ignore[misc]
            best(lambda joined=joined: both(joined), rounds * 8, 2) / EVENTS,  # type: ignore[misc]
        )
        print(f"{name:24}{costs[0]:9.2f}{costs[1]:10.2f}{costs[2]:8.2f}{costs[3]:10.2f}")


def request(dialect: str, size: int) -> tuple[Dialect, str, str, bytes]:
    """A request of about that size, mostly tools up to 64 KB, then turns."""
    schema = {
        "type": "object",
        "properties": {
            f"field_{at}": {"type": "string", "description": "what it is for, said at length " * 3}
            for at in range(12)
        },
    }
    wanted = min(size * 4 // 5, 64_000)
    one = len(json.dumps(schema)) + 120
    tools: list[dict[str, object]] = []
    for at in range(max(wanted // one, 1)):
        tool: dict[str, object] = {"name": f"tool_{at}", "description": "does what it says"}
        match dialect:
            case "anthropic":
                tools.append({**tool, "input_schema": schema})
            case "chat":
                tools.append({"type": "function", "function": {**tool, "parameters": schema}})
            case "responses":
                tools.append({"type": "function", **tool, "parameters": schema})
            case _:
                tools.append({**tool, "parameters": schema})
    left = max(size - len(json.dumps(tools)), 100)
    turn = 'some words of a long session, with "quotes" and\nlines; ' * 20
    turns = [{"role": "user", "content": turn}] * max(left // len(json.dumps(turn)), 1)
    match dialect:
        case "anthropic":
            body = {"model": "claude", "max_tokens": 64_000, "tools": tools, "messages": turns}
            return table.ANTHROPIC, "/v1/messages", "beta=true", _json({**body, "stream": True})
        case "chat":
            chat = {"model": "gpt", "messages": turns, "tools": tools, "stream": True}
            return table.CHAT, "/v1/chat/completions", "", _json(chat)
        case "responses":
            said = {"model": "gpt", "store": False, "input": turns, "tools": tools, "stream": True}
            return table.RESPONSES, "/v1/responses", "", _json(said)
        case _:
            told = {"contents": turns, "tools": [{"functionDeclarations": tools}]}
            path = "/v1beta/models/gemini-pro:streamGenerateContent"
            return table.GEMINI, path, "alt=sse", _json(told)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def of_requests(rounds: int) -> None:
    print(f"\n{'a request':24}{'KB':>7}{'members':>9}{'ask':>7}{'sha256':>8}  µs   ask / sha256")
    for name in ("anthropic", "chat", "responses", "gemini"):
        for size in (2_000, 76_000, 800_000):
            dialect, path, query, body = request(name, size)
            members = _members.decode(body)
            times = max(2_000_000 // (len(body) + 20_000), 2)
            often = rounds * 4
            split = best(lambda body=body: _members.decode(body), often, times)  # type: ignore[misc]
            ask = best(
                lambda d=dialect, p=path, q=query, m=members: d.ask(p, q, m),  # type: ignore[misc]
                often,
                times,
            )
            sha = best(lambda body=body: hashlib.sha256(body).digest(), often, times)  # type: ignore[misc]
            print(
                f"{name:24}{len(body) / 1000:7.0f}{split:9.1f}{ask:7.1f}{sha:8.1f}{ask / sha:15.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    of_streams(rounds)
    of_requests(rounds)


if __name__ == "__main__":
    main()
