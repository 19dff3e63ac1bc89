from __future__ import annotations

import pytest

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Endpoint, Meter, Sort
from tests.proxy.dialects.streams import (
    ANTHROPIC,
    MESSAGE_STOP,
    PING,
    Json,
    block,
    delta,
    ending,
    named,
    packed,
    read,
    started,
    stopped,
)

P, C, END, ERROR = Sort.PREAMBLE, Sort.CONTENT, Sort.END, Sort.ERROR


def metered(*events: bytes) -> tuple[Meter, list[Sort]]:
    return read(table.ANTHROPIC, Endpoint.MESSAGES, events)


def whole(body: object, endpoint: Endpoint = Endpoint.MESSAGES) -> Meter:
    meter, _ = read(table.ANTHROPIC, endpoint, ())
    meter.whole(body if isinstance(body, bytes) else packed(body))
    return meter


def test_a_whole_stream_is_read() -> None:
    meter, sorts = metered(*ANTHROPIC)
    assert meter.usage == Usage(input=25, cache_write_5m=100, cache_read=900, output=89)
    assert meter.ended
    assert meter.storable
    assert sorts[:4] == [P, P, P, C]
    assert set(sorts[4:-1]) <= {C, P}
    assert sorts[-1] is END


@pytest.mark.parametrize(
    ("event", "sort"),
    [
        (started(), P),
        (PING, P),
        (block(0, type="text", text=""), P),
        (block(0, type="text", text="a"), C),
        (block(0, type="thinking", thinking="", signature=""), P),
        (block(0, type="redacted_thinking", data="eA=="), P),
        (block(0, type="tool_use", id="t", name="n", input={}), C),
        (block(0, type="server_tool_use", id="t", name="n", input={}), C),
        (block(0, type="mcp_tool_use", id="t", name="n", input={}), C),
        (block(0, type="web_search_tool_result", content=[]), C),
        (delta(0, "text_delta", text=""), P),
        (delta(0, "text_delta", text="a"), C),
        (delta(0, "thinking_delta", thinking="a"), C),
        (delta(0, "thinking_delta", thinking=""), P),
        (delta(0, "signature_delta", signature="c2ln"), P),
        (delta(0, "input_json_delta", partial_json=""), P),
        (delta(0, "input_json_delta", partial_json="{"), C),
        (stopped(0), P),
        (ending(), P),
        (MESSAGE_STOP, END),
        (named({"type": "error", "error": {"type": "overloaded_error"}}), ERROR),
        (b"event: error\ndata: not json\n\n", ERROR),
        (b'event: message_delta\ndata: {"type":"keepalive"}\n\n', P),
        (b'event: content_block_delta\ndata: {"type":"keepalive"}\n\n', P),
        (b"event: content_block_delta\ndata: {\n\n", P),
        (b": ping\n\n", P),
        (b"\n\n", P),
        (named({"type": "from_the_future"}), P),
    ],
)
def test_each_kind_of_event_is_known_before_there_is_content(event: bytes, sort: Sort) -> None:
    assert metered(event)[1] == [sort]


def test_a_complete_thinking_block_is_content_even_when_it_says_nothing() -> None:
    for kind in ("thinking", "redacted_thinking"):
        _, sorts = metered(started(), block(0, type=kind, thinking=""), stopped(0))
        assert sorts == [P, P, C]
    assert metered(block(0, type="text", text=""), stopped(0))[1] == [P, P]


def test_events_are_known_however_they_are_written() -> None:
    spaced = b'event: content_block_delta\r\ndata: { "type" : "content_block_delta", "delta":'
    assert metered(spaced + b' {"type": "text_delta", "text": "abcd"} }\r\n\r\n')[1] == [C]
    assert metered(b'data:{"type":"message_stop"}\n\n')[1] == [END]
    assert metered(b'data: {"type":"message_stop"}\nevent: message_stop\n\n')[1] == [END]
    half = b'data: {"type":"content_block_delta","delta":{"text":"\\ud83d"}}\n\n'
    assert metered(b"event: content_block_delta\n" + half)[1] == [C]


@pytest.mark.parametrize(
    ("start", "deltas", "usage"),
    [
        ({}, [{"output_tokens": 7}], Usage(input=25, output=7)),
        ({}, [{"output_tokens": 7}, {"output_tokens": 9}], Usage(input=25, output=9)),
        ({}, [{"output_tokens": 9, "input_tokens": 30}], Usage(input=30, output=9)),
        ({}, [{"output_tokens": 9, "input_tokens": None}], Usage(input=25, output=9)),
        (
            {"cache_read_input_tokens": 5},
            [{"output_tokens": 9, "cache_read_input_tokens": 8}],
            Usage(input=25, cache_read=8, output=9),
        ),
        (
            {"cache_creation_input_tokens": 10},
            [{"output_tokens": 1}],
            Usage(input=25, cache_write_5m=10, output=1),
        ),
        (
            {
                "cache_creation_input_tokens": 10,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 4,
                    "ephemeral_1h_input_tokens": 6,
                },
            },
            [{"output_tokens": 1}],
            Usage(input=25, cache_write_5m=4, cache_write_1h=6, output=1),
        ),
        (
            {"cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6}},
            [{"output_tokens": 1}],
            Usage(input=25, cache_write_5m=4, cache_write_1h=6, output=1),
        ),
        (
            {
                "cache_creation_input_tokens": 10,
                "cache_creation": {"ephemeral_1h_input_tokens": 10},
            },
            [{"output_tokens": 1, "cache_creation_input_tokens": 3}],
            Usage(input=25, cache_write_1h=3, output=1),
        ),
        (
            {"input_tokens": -5, "cache_read_input_tokens": "9"},
            [{"output_tokens": 10**15}],
            Usage(),
        ),
        (
            {},
            [{"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}],
            Usage(input=25, output=9, reasoning=4),
        ),
    ],
)
def test_the_last_value_of_each_field_wins(start: Json, deltas: list[Json], usage: Usage) -> None:
    meter, _ = metered(
        started(**start), *(ending("end_turn", **said) for said in deltas), MESSAGE_STOP
    )
    assert meter.usage == usage


def test_a_cut_stream_is_estimated_from_what_was_seen() -> None:
    begun = started(cache_read_input_tokens=900)
    assert metered(begun)[0].usage == Usage(input=25, cache_read=900, output=1, estimated=True)
    said = delta(0, "text_delta", text="12345678" * 10)
    called = delta(1, "input_json_delta", partial_json="x" * 40)
    meter, _ = metered(begun, said, called)
    assert meter.usage == Usage(input=25, cache_read=900, output=30, estimated=True)
    assert not meter.ended
    assert not meter.storable
    uncounted, _ = metered(begun, said, ending(), MESSAGE_STOP)
    assert uncounted.usage == Usage(input=25, cache_read=900, output=20, estimated=True)
    assert metered()[0].usage == NOTHING


@pytest.mark.parametrize(
    ("reason", "storable"),
    [
        ("end_turn", True),
        ("tool_use", True),
        ("stop_sequence", True),
        ("max_tokens", False),
        ("refusal", False),
        ("pause_turn", False),
        ("model_context_window_exceeded", False),
        (None, False),
    ],
)
def test_only_answers_that_ended_well_are_stored(reason: str | None, storable: bool) -> None:
    meter, _ = metered(started(), ending(reason, output_tokens=1), MESSAGE_STOP)
    assert (meter.ended, meter.storable) == (True, storable)
    assert not metered(started(), ending(reason, output_tokens=1))[0].storable
    body = {"type": "message", "stop_reason": reason, "usage": {"output_tokens": 1}}
    assert whole(body).storable is storable


def test_a_whole_body_is_read() -> None:
    usage: Json = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}
    meter = whole({"type": "message", "content": [], "stop_reason": "end_turn", "usage": usage})
    assert meter.usage == Usage(input=5, cache_read=3, output=2)
    assert meter.ended
    cut = whole(b'{"type":"message"')
    assert (cut.ended, cut.storable, cut.usage) == (False, False, NOTHING)
    text = [{"type": "text", "text": "x" * 400}]
    unsaid = whole({"type": "message", "content": text, "stop_reason": "end_turn"}).usage
    assert unsaid.estimated
    assert unsaid.output >= 100


def test_counted_tokens_are_not_used_tokens() -> None:
    meter = whole({"input_tokens": 12}, Endpoint.COUNT_TOKENS)
    assert (meter.usage, meter.ended, meter.storable) == (NOTHING, True, True)
