"""Realistic bodies of each dialect, and what decides which of them are the same request."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Dialect
from fleet.proxy.dialects.gemini import Gemini
from fleet.proxy.dialects.responses import Responses
from fleet.proxy.fingerprint import Fingerprints, Seen

Body = dict[str, object]

PATHS: dict[type[Dialect], str] = {
    Anthropic: "/v1/messages",
    Chat: "/v1/chat/completions",
    Responses: "/v1/responses",
    Gemini: "/v1beta/models/gemini-2.5-pro:generateContent",
}
USER = json.dumps({"device_id": "d", "account_uuid": "", "session_id": "s"})
CACHED = {"cache_control": {"type": "ephemeral"}}

ANTHROPIC: Body = {
    "model": "claude-sonnet-4-5",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Say hello.\n"}]}],
    "system": [{"type": "text", "text": "You are a coding agent. " * 300, **CACHED}],
    "tools": [{"name": "Bash", "description": "Runs.", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"},
    "metadata": {"user_id": USER},
    "max_tokens": 32000,
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
    "temperature": 1,
    "top_p": 0.9,
    "top_k": 40,
    "stop_sequences": ["END"],
    "service_tier": "auto",
    "stream": True,
}
CHAT: Body = {
    "model": "gpt-5",
    "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "hello"}],
    "tools": [{"type": "function", "function": {"name": "read", "parameters": {}}}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "max_completion_tokens": 4096,
    "temperature": 0,
    "top_p": 1,
    "seed": 7,
    "stop": ["\n"],
    "n": 1,
    "logit_bias": {"50256": -100},
    "response_format": {"type": "json_object"},
    "reasoning_effort": "high",
    "service_tier": "auto",
    "store": False,
    "metadata": {"purpose": "title", "user_id": "u"},
    "user": "u-1",
    "safety_identifier": "s-1",
    "prompt_cache_key": "k-1",
    "prompt_cache_options": {"ttl": "1h"},
    "prompt_cache_retention": "24h",
    "client_metadata": {"session": "1"},
    "stream": True,
    "stream_options": {"include_usage": True},
}
RESPONSES: Body = {
    "model": "gpt-5",
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "id": "msg_1", "role": "user", "content": [{"text": "hello"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AAAA"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "done"},
    ],
    "tools": [{"type": "function", "name": "shell", "strict": False, "parameters": {}}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {"verbosity": "low"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 4096,
    "temperature": 1,
    "service_tier": "auto",
    "metadata": {"purpose": "title", "user_id": "u"},
    "prompt_cache_key": "01a2",
    "prompt_cache_options": {"ttl": "1h"},
    "prompt_cache_retention": "24h",
    "client_metadata": {"thread": "1"},
    "user": "u-1",
    "safety_identifier": "s-1",
    "stream": True,
    "stream_options": {"include_obfuscation": False},
}
GEMINI: Body = {
    "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
    "systemInstruction": {"parts": [{"text": "You are an agent."}]},
    "tools": [{"functionDeclarations": [{"name": "read"}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    "generationConfig": {"temperature": 0, "topP": 1},
    "safetySettings": [],
    "cachedContent": "cachedContents/1",
    "labels": {"user_id": "x"},
    "metadata": {"user_id": "x"},
    "stream": True,
}

# Whether a member decides which requests are the same: `in`, `out`, or only partly (its own test).
# Whoever adds a member to a body above has to decide here.
DECISIONS: tuple[tuple[Dialect, Body, dict[str, str]], ...] = (
    (
        Anthropic(),
        ANTHROPIC,
        dict.fromkeys(ANTHROPIC, "in") | {"stream": "out", "metadata": "partly"},
    ),
    (
        Chat(),
        CHAT,
        {
            **dict.fromkeys(
                (
                    *("model", "messages", "tools", "tool_choice", "parallel_tool_calls"),
                    *("max_completion_tokens", "temperature", "top_p", "seed", "stop", "n"),
                    *("logit_bias", "response_format", "reasoning_effort", "service_tier"),
                    "store",
                ),
                "in",
            ),
            **dict.fromkeys(
                (
                    *("user", "safety_identifier", "prompt_cache_key", "prompt_cache_options"),
                    *("prompt_cache_retention", "client_metadata", "stream", "stream_options"),
                ),
                "out",
            ),
            "metadata": "partly",
        },
    ),
    (
        Responses(),
        RESPONSES,
        {
            **dict.fromkeys(
                (
                    *("model", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
                    *("reasoning", "text", "store", "include", "max_output_tokens"),
                    *("temperature", "service_tier"),
                ),
                "in",
            ),
            **dict.fromkeys(
                (
                    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
                    *("client_metadata", "user", "safety_identifier", "stream", "stream_options"),
                ),
                "out",
            ),
            "input": "partly",
            "metadata": "partly",
        },
    ),
    (Gemini(), GEMINI, dict.fromkeys(GEMINI, "in")),
)
CASES = [
    pytest.param(dialect, body, name, decisions.get(name), id=f"{dialect.name}-{name}")
    for dialect, body, decisions in DECISIONS
    for name in body
]


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def spaced(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


WRITERS = pytest.mark.parametrize("write", [compact, spaced])
Write = Callable[[object], bytes]


def look(dialect: Dialect, body: bytes, path: str = "") -> Seen:
    return Fingerprints().look(dialect, path or PATHS[type(dialect)], "", body)


def digest_of(dialect: Dialect, body: bytes, path: str = "") -> bytes:
    seen = look(dialect, body, path)
    assert seen.reason == ""
    assert len(seen.digest) == 32
    return seen.digest
