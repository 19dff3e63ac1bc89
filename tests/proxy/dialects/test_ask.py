from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Asked, Endpoint
from tests.proxy.dialects.streams import Json, members

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GENERATE = "/v1beta/models/gemini-pro:generateContent"
STREAM = "/v1beta/models/gemini-pro:streamGenerateContent"


def ask(path: str, body: Json | None = None, query: str = "") -> Asked:
    dialect = table.find("GET" if body is None else "POST", path).dialect
    return dialect.ask(path, query, members(body or {}))


def test_a_messages_request_says_what_it_wants() -> None:
    body: Json = {"model": "claude-test", "max_tokens": 64_000, "stream": True, "messages": []}
    assert ask(MESSAGES, body, "beta=true") == Asked(
        endpoint=Endpoint.MESSAGES, model="claude-test", stream=True, max_output=64_000
    )
    cold = ask(MESSAGES, {**body, "temperature": 0, "stream": False})
    assert (cold.deterministic, cold.stream) == (True, False)


def test_counting_tokens_is_free_of_chance_and_of_streams() -> None:
    counted = ask("/v1/messages/count_tokens", {"model": "m", "stream": True})
    assert (counted.endpoint, counted.deterministic) == (Endpoint.COUNT_TOKENS, True)
    assert not counted.stream


def test_a_chat_request_says_what_it_wants() -> None:
    body: Json = {"model": "gpt-test", "stream": True, "max_tokens": 100, "seed": 7}
    asked = ask(CHAT, {**body, "stream_options": {"include_usage": True}})
    assert asked == Asked(
        endpoint=Endpoint.CHAT,
        model="gpt-test",
        stream=True,
        wants_usage=True,
        max_output=100,
        deterministic=True,
    )
    assert not ask(CHAT, {**body, "stream_options": {"include_usage": False}}).wants_usage
    assert ask(CHAT, {**body, "max_completion_tokens": 7}).max_output == 7
    assert not ask(CHAT, {"model": "m"}).deterministic
    assert ask(CHAT, {"model": "m", "temperature": 0.0}).deterministic


def test_a_responses_request_says_what_it_wants() -> None:
    body: Json = {"model": "gpt-test", "store": False, "stream": True, "max_output_tokens": 9}
    assert ask(RESPONSES, body) == Asked(
        endpoint=Endpoint.RESPONSES, model="gpt-test", stream=True, max_output=9
    )


def test_a_gemini_request_has_its_model_and_its_stream_in_the_path() -> None:
    config: Json = {"generationConfig": {"maxOutputTokens": 5, "temperature": 0}}
    assert ask(GENERATE, config) == Asked(
        endpoint=Endpoint.GENERATE, model="gemini-pro", max_output=5, deterministic=True
    )
    asked = ask(STREAM, {"contents": []}, "key=x&alt=sse")
    assert (asked.stream, asked.bypass, asked.model) == (True, "", "gemini-pro")
    assert ask(GENERATE, {"generation_config": {"seed": 3}}).deterministic


def test_a_gemini_stream_without_events_is_an_array_that_nobody_shares() -> None:
    asked = ask(STREAM, {"contents": []})
    assert (asked.stream, asked.bypass) == (False, "array")


def test_endpoints_without_chance_are_deterministic() -> None:
    assert ask("/v1/embeddings", {"model": "e"}) == Asked(
        endpoint=Endpoint.EMBEDDINGS, model="e", deterministic=True
    )
    assert ask("/v1/models").endpoint is Endpoint.MODELS
    assert ask("/v1/models/org/m").model == "org/m"
    assert ask("/v1beta/models/g").model == "g"
    assert ask("/v1beta/models/g:countTokens", {"contents": []}).deterministic


@pytest.mark.parametrize(
    ("path", "more", "reason"),
    [
        (MESSAGES, {}, ""),
        (MESSAGES, {"tools": [{"name": "Read", "input_schema": {"type": "object"}}]}, ""),
        (MESSAGES, {"tools": [{"type": "custom", "name": "x"}, {"type": "bash_20250124"}]}, ""),
        (MESSAGES, {"tools": [{"type": "text_editor_20250728"}, {"type": "memory_2025"}]}, ""),
        (MESSAGES, {"tools": [{"type": "computer_20250124"}]}, ""),
        (MESSAGES, {"tools": [{"type": "tool_search_tool_bm25_20251119"}]}, ""),
        (MESSAGES, {"tools": None, "mcp_servers": [], "container": None}, ""),
        (MESSAGES, {"tools": [{"name": "x"}, {"type": "web_search_20250305"}]}, "server-tool"),
        (MESSAGES, {"tools": [{"type": "web_fetch_20250910"}]}, "server-tool"),
        (MESSAGES, {"tools": [{"type": "code_execution_20250825"}]}, "server-tool"),
        (MESSAGES, {"tools": [{"type": "advisor_20260301"}]}, "server-tool"),
        (MESSAGES, {"tools": [{"type": "from_the_future"}]}, "server-tool"),
        (MESSAGES, {"tools": {"type": "odd"}}, "server-tool"),
        (MESSAGES, {"mcp_servers": [{"url": "https://x"}]}, "server-tool"),
        (MESSAGES, {"container": "container_1"}, "container"),
        (CHAT, {"tools": [{"type": "function"}, {"type": "custom"}, {}]}, ""),
        (CHAT, {"store": False, "n": 1}, ""),
        (CHAT, {"store": True}, "store"),
        (CHAT, {"n": 2}, "n"),
        (CHAT, {"web_search_options": {}}, "server-tool"),
        (CHAT, {"tools": [{"type": "web_search"}]}, "server-tool"),
        (RESPONSES, {}, "store"),
        (RESPONSES, {"store": None}, "store"),
        (RESPONSES, {"store": True}, "store"),
        (RESPONSES, {"store": False}, ""),
        (RESPONSES, {"store": False, "previous_response_id": "resp_1"}, "previous-response"),
        (RESPONSES, {"store": False, "previous_response_id": None}, ""),
        (RESPONSES, {"store": False, "conversation": "conv_1"}, "conversation"),
        (RESPONSES, {"store": False, "background": True}, "background"),
        (RESPONSES, {"store": False, "background": False}, ""),
        (RESPONSES, {"store": False, "prompt": {"id": "pmpt_1"}}, "prompt-id"),
        (RESPONSES, {"store": False, "tools": [{"type": "function", "name": "f"}]}, ""),
        (RESPONSES, {"store": False, "tools": [{"type": "namespace", "tools": []}]}, ""),
        (RESPONSES, {"store": False, "tools": [{"type": "local_shell"}]}, ""),
        (RESPONSES, {"store": False, "tools": [{"type": "shell"}]}, ""),
        (
            RESPONSES,
            {"store": False, "tools": [{"type": "shell", "environment": {"type": "local"}}]},
            "",
        ),
        (
            RESPONSES,
            {"store": False, "tools": [{"type": "shell", "environment": {"type": "auto"}}]},
            "server-tool",
        ),
        *(
            (RESPONSES, {"store": False, "tools": [{"type": kind}]}, "server-tool")
            for kind in (
                "web_search",
                "web_search_preview_2025_03_11",
                "file_search",
                "code_interpreter",
                "image_generation",
                "computer_use_preview",
                "mcp",
            )
        ),
        (GENERATE, {"tools": [{"functionDeclarations": []}]}, ""),
        (GENERATE, {"tools": {"functionDeclarations": []}}, ""),
        (GENERATE, {"tools": [{"functionDeclarations": []}, {"googleSearch": {}}]}, "server-tool"),
        (GENERATE, {"tools": [{"codeExecution": {}}]}, "server-tool"),
        (GENERATE, {"generationConfig": {"candidateCount": 3}}, "n"),
    ],
)
def test_a_request_with_state_or_effects_elsewhere_bypasses(
    path: str, more: Json, reason: str
) -> None:
    assert ask(path, {"model": "m", **more}).bypass == reason


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
NAMES = (
    "model",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "temperature",
    "seed",
    "n",
    "store",
    "tools",
    "stream_options",
    "mcp_servers",
    "container",
    "previous_response_id",
    "prompt",
    "generationConfig",
    "web_search_options",
)


ODD_TOOLS = st.lists(st.fixed_dictionaries({"type": ODD}), max_size=2)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(NAMES), ODD | ODD_TOOLS, max_size=4))
def test_no_member_of_an_odd_type_raises(body: Json) -> None:
    for path in (MESSAGES, CHAT, RESPONSES, GENERATE, STREAM, "/v1/embeddings"):
        asked = ask(path, body, "alt=sse")
        assert isinstance(asked.model, str)
        assert isinstance(asked.stream, bool)
        assert 0 <= asked.max_output <= 1 << 32


def test_tools_nested_too_deep_to_read_are_not_known_to_be_harmless() -> None:
    raw = b'{"model":7,"tools":[' + b'{"x":' * 400 + b"1" + b"}" * 400 + b"]}"
    deeper = b'{"tools":' + b"[" * 400 + b"]" * 400 + b"}"
    for path in (MESSAGES, CHAT):
        dialect = table.find("POST", path).dialect
        assert dialect.ask(path, "", members(raw)).model == ""
        assert dialect.ask(path, "", members(deeper)).bypass == "server-tool"
