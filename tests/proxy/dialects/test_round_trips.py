"""Whatever an answer holds, it is the same after being made a stream and one body again; and
whatever nonsense comes, nothing raises."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.proxy.dialects import models, table
from fleet.proxy.dialects.dialect import Asked, Dialect, Endpoint, Sort
from tests.proxy.dialects.streams import Json, packed, read

texts = st.text(max_size=20)
some = st.text(min_size=1, max_size=20)
counts = st.integers(1, 1_000_000)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
objects = st.dictionaries(texts, values, max_size=3)


def tagged(kind: str, **members: st.SearchStrategy[object]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"type": st.just(kind), **members})


blocks = st.one_of(
    tagged("text", text=texts),
    tagged("text", text=texts, citations=st.lists(objects, min_size=1, max_size=2)),
    tagged("text", text=texts, citations=st.none()),
    tagged("thinking", thinking=texts, signature=texts),
    tagged("redacted_thinking", data=texts),
    tagged("tool_use", id=texts, name=texts, input=objects),
    tagged("server_tool_use", id=texts, name=texts, input=objects),
    tagged("web_search_tool_result", tool_use_id=texts, content=values),
    tagged("from_the_future", anything=values),
)
messages = st.fixed_dictionaries(
    {
        "id": texts,
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": texts,
        "content": st.lists(blocks, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "max_tokens"]),
        "stop_sequence": st.none() | texts,
        "usage": st.fixed_dictionaries(
            {"input_tokens": counts, "output_tokens": counts},
            optional={"cache_read_input_tokens": counts, "cache_creation": st.just({"a": 1})},
        ),
    },
    optional={"container": st.none() | objects, "stop_details": st.none() | objects},
)

arguments = objects.map(lambda value: json.dumps(value))
tool_calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": some,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": some, "arguments": arguments}),
        }
    ),
    min_size=1,
    max_size=3,
)
chat_messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | texts},
    optional={
        "tool_calls": tool_calls,
        "refusal": st.none() | some,
        "reasoning_content": some,
        "annotations": st.lists(objects, max_size=2),
    },
)
completions = st.fixed_dictionaries(
    {
        "id": some,
        "object": st.just("chat.completion"),
        "created": counts,
        "model": some,
        "choices": st.lists(
            st.fixed_dictionaries(
                {
                    "message": chat_messages,
                    "finish_reason": st.sampled_from(["stop", "tool_calls", "length"]),
                },
                optional={"logprobs": st.none() | st.just({"content": [{"token": "a"}]})},
            ),
            min_size=1,
            max_size=3,
        ).map(lambda found: [{"index": at, **one} for at, one in enumerate(found)]),
    },
    optional={
        "usage": st.fixed_dictionaries({"prompt_tokens": counts, "completion_tokens": counts}),
        "system_fingerprint": some,
    },
)

items = st.one_of(
    tagged(
        "message",
        id=some,
        role=st.just("assistant"),
        status=st.just("completed"),
        content=st.lists(
            tagged("output_text", text=texts, annotations=st.lists(objects, max_size=2))
            | tagged("refusal", refusal=texts),
            max_size=2,
        ),
    ),
    tagged("reasoning", id=some, summary=st.lists(tagged("summary_text", text=texts), max_size=2)),
    tagged("function_call", id=some, call_id=some, name=some, arguments=arguments),
    tagged("custom_tool_call", id=some, call_id=some, name=some, input=texts),
    tagged("from_the_future", id=some, anything=values),
)
responses = st.fixed_dictionaries(
    {
        "id": some,
        "object": st.just("response"),
        "status": st.sampled_from(["completed", "incomplete"]),
        "output": st.lists(items, max_size=3),
        "usage": st.fixed_dictionaries({"input_tokens": counts, "output_tokens": counts}),
    }
)

parts = st.one_of(
    st.fixed_dictionaries({"text": texts, "thoughtSignature": some}),
    st.fixed_dictionaries({"functionCall": st.fixed_dictionaries({"name": some, "args": objects})}),
    st.fixed_dictionaries({"inlineData": objects}),
)
contents = st.fixed_dictionaries(
    {
        "candidates": st.lists(
            st.fixed_dictionaries(
                {
                    "content": st.fixed_dictionaries(
                        {"role": st.just("model"), "parts": st.lists(parts, max_size=3)}
                    ),
                    "finishReason": st.sampled_from(["STOP", "MAX_TOKENS"]),
                }
            ),
            min_size=1,
            max_size=2,
        ).map(lambda found: [{**one, "index": at} for at, one in enumerate(found)]),
        "usageMetadata": st.fixed_dictionaries({"promptTokenCount": counts}),
    }
)


def returns(dialect: Dialect, endpoint: Endpoint, body: Json) -> None:
    """There and back, and both forms tell the meter the same."""
    written = packed(body)
    events = dialect.unfold(written)
    assert events is not None
    again = dialect.fold(events)
    assert again is not None
    assert json.loads(again) == body
    streamed, sorts = read(dialect, endpoint, events)
    read_whole, _ = read(dialect, endpoint, ())
    read_whole.whole(written)
    assert Sort.END in sorts
    assert Sort.ERROR not in sorts
    assert streamed.ended
    assert streamed.storable == read_whole.storable
    if not read_whole.usage.estimated:
        assert streamed.usage == read_whole.usage


@settings(max_examples=40)
@given(messages)
def test_anthropic_messages_return(body: Json) -> None:
    returns(table.ANTHROPIC, Endpoint.MESSAGES, body)


@settings(max_examples=40)
@given(completions)
def test_chat_completions_return(body: Json) -> None:
    returns(table.CHAT, Endpoint.CHAT, body)


@settings(max_examples=40)
@given(responses)
def test_responses_return(body: Json) -> None:
    returns(table.RESPONSES, Endpoint.RESPONSES, body)


@settings(max_examples=40)
@given(contents)
def test_gemini_answers_return(body: Json) -> None:
    returns(table.GEMINI, Endpoint.GENERATE, body)


NAMES = st.sampled_from(
    [
        *("type", "message", "index", "delta", "content_block", "usage", "content", "error"),
        *("choices", "timings", "finish_reason", "stop_reason", "text", "tool_calls", "function"),
        *("response", "item", "output_index", "output", "status", "object", "partial_json"),
        *("candidates", "parts", "usageMetadata", "finishReason", "promptFeedback", "data"),
    ]
)
KINDS = st.sampled_from(
    [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "message", "chat.completion", "response"),
        *("response.output_item.added", "response.output_item.done", "response.completed"),
        *("response.output_text.delta", "response.failed", "error"),
    ]
)
LEAVES = leaves | KINDS
nonsense = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=8,
    ),
    max_size=6,
)
ALL = (
    (table.ANTHROPIC, Endpoint.MESSAGES),
    (table.CHAT, Endpoint.CHAT),
    (table.RESPONSES, Endpoint.RESPONSES),
    (table.GEMINI, Endpoint.GENERATE),
)


@settings(max_examples=80)
@given(st.lists(st.tuples(KINDS, nonsense), max_size=3), st.binary(max_size=30))
def test_no_answer_however_odd_raises(said: list[tuple[str, Json]], garbage: bytes) -> None:
    bodies = [body | {"type": kind} if at % 2 else body for at, (kind, body) in enumerate(said)]
    events = [b"data: " + packed(body) + b"\n\n" for body in bodies]
    events += [
        f"event: {kind}\n".encode() + one for (kind, _), one in zip(said, events, strict=True)
    ]
    for dialect, endpoint in ALL:
        odd(dialect, endpoint, [*events, b"data: " + garbage, garbage])
        for body in bodies:
            odd_body(dialect, endpoint, packed(body))
        odd_body(dialect, endpoint, garbage)
    models.reply("/v1/models", (*(packed(body) for body in bodies), garbage))


def odd(dialect: Dialect, endpoint: Endpoint, events: list[bytes]) -> None:
    meter, _ = read(dialect, endpoint, events)
    usage = meter.usage
    assert min(usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h) >= 0
    assert min(usage.output, usage.reasoning) >= 0
    assert isinstance(meter.storable, bool)
    assert not (meter.storable and not meter.ended)
    dialect.fold(events)


def odd_body(dialect: Dialect, endpoint: Endpoint, body: bytes) -> None:
    meter = dialect.meter(Asked(endpoint=endpoint))
    meter.whole(body)
    assert meter.usage.output >= 0
    unfolded = dialect.unfold(body)
    assert unfolded is None or all(event.endswith(b"\n\n") for event in unfolded)
