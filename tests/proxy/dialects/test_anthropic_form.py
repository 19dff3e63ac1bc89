from __future__ import annotations

import json

import pytest

from fleet.proxy.dialects import table
from tests.proxy.dialects import streams
from tests.proxy.dialects.streams import (
    MESSAGE_STOP,
    PING,
    Json,
    block,
    delta,
    ending,
    folded,
    named,
    started,
    stopped,
)


def test_an_anthropic_stream_folds_to_its_message() -> None:
    assert folded(table.ANTHROPIC, *streams.ANTHROPIC) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [
            {"type": "thinking", "thinking": "first the tests", "signature": "c2ln"},
            {"type": "text", "text": 'I shall read "it" é\n'},
            {
                "type": "tool_use",
                "id": "toolu_1",
                "name": "Read",
                "input": {"path": "a.py", "n": 3},
            },
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 25,
            "output_tokens": 89,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 900,
        },
    }


def message_of(*events: bytes) -> Json | None:
    return folded(table.ANTHROPIC, started(), *events, ending(output_tokens=1), MESSAGE_STOP)


def content_of(*events: bytes) -> object:
    message = message_of(*events)
    return None if message is None else message["content"]


def test_unknown_blocks_deltas_and_events_are_carried_over() -> None:
    cited = {"type": "char_location", "cited_text": "x"}
    assert content_of(
        named({"type": "from_the_future"}),
        block(0, type="redacted_thinking", data="eA=="),
        stopped(0),
        PING,
        block(1, type="text", text="", citations=[]),
        delta(1, "citations_delta", citation=cited),
        delta(1, "text_delta", text="x"),
        stopped(1),
        block(2, type="server_tool_use", id="s", name="web_search", input={}),
        delta(2, "input_json_delta", partial_json='{"q":1}'),
        stopped(2),
        block(3, type="web_search_tool_result", content=[{"url": "u"}]),
        stopped(3),
        block(4, type="compaction", content=None),
        delta(4, "compaction_delta", content="short", encrypted_content="e"),
        stopped(4),
    ) == [
        {"type": "redacted_thinking", "data": "eA=="},
        {"type": "text", "text": "x", "citations": [cited]},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
        {"type": "web_search_tool_result", "content": [{"url": "u"}]},
        {"type": "compaction", "content": "short", "encrypted_content": "e"},
    ]


def test_keepalives_leave_no_trace() -> None:
    agent = "claude-cli/2"
    keepalive = table.ANTHROPIC.keepalive(agent)
    events = [keepalive, *(x for event in streams.ANTHROPIC for x in (event, keepalive))]
    assert folded(table.ANTHROPIC, *events) == folded(table.ANTHROPIC, *streams.ANTHROPIC)


def test_later_counts_and_members_override_earlier_ones() -> None:
    more = named(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None, "container": {"id": "c"}},
            "usage": {"output_tokens": 5, "input_tokens": None},
            "context_management": {"applied_edits": []},
        }
    )
    message = folded(table.ANTHROPIC, started(), ending(output_tokens=2), more, MESSAGE_STOP)
    assert message is not None
    assert message["usage"] == {"input_tokens": 25, "output_tokens": 5}
    assert message["container"] == {"id": "c"}
    assert message["context_management"] == {"applied_edits": []}


TEXT_BLOCK = block(0, type="text", text="")
TOOL_BLOCK = block(0, type="tool_use", id="t", name="n", input={})


@pytest.mark.parametrize(
    "events",
    [
        [started()],
        [TEXT_BLOCK],
        [block(1, type="text", text=""), stopped(1)],
        [block(1, type="text", text=""), stopped(0)],
        [TEXT_BLOCK, stopped(0), TEXT_BLOCK, stopped(0)],
        [TEXT_BLOCK, block(1, type="text", text=""), stopped(0), stopped(1)],
        [delta(0, "text_delta", text="x")],
        [TEXT_BLOCK, delta(1, "text_delta", text="x"), stopped(0)],
        [TOOL_BLOCK, delta(0, "input_json_delta", partial_json='{"a":'), stopped(0)],
        [TOOL_BLOCK, delta(0, "input_json_delta", partial_json='{"a":NaN}'), stopped(0)],
        [TEXT_BLOCK, stopped(0), named({"type": "error", "error": {}})],
    ],
)
def test_an_anthropic_stream_that_breaks_the_rules_is_not_folded(events: list[bytes]) -> None:
    assert content_of(*events) is None


def test_a_tool_call_without_arguments_keeps_its_empty_input() -> None:
    assert content_of(TOOL_BLOCK, delta(0, "input_json_delta", partial_json=""), stopped(0)) == [
        {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    ]


def test_half_characters_and_huge_numbers_survive() -> None:
    half = b"event: content_block_delta\ndata: " + (
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}\n\n'
    )
    events = (started(), TEXT_BLOCK, half % b"\\ud83d", half % b"\\ude00", stopped(0))
    body = table.ANTHROPIC.fold([*events, ending(output_tokens=1), MESSAGE_STOP])
    assert body is not None
    assert json.loads(body)["content"][0]["text"] == "😀"
    huge = '{"n":' + "9" * 40 + "}"
    content = content_of(TOOL_BLOCK, delta(0, "input_json_delta", partial_json=huge), stopped(0))
    assert isinstance(content, list)
    assert content[0]["input"] == {"n": int("9" * 40)}


def test_an_unfolded_message_keeps_the_rules_of_streams() -> None:
    body = table.ANTHROPIC.fold(streams.ANTHROPIC)
    events = table.ANTHROPIC.unfold(body or b"") or ()
    kinds = [json.loads(event.partition(b"data: ")[2])["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds.count("message_start") == 1
    assert kinds[-2:] == ["message_delta", "message_stop"]
    first = json.loads(events[0].partition(b"data: ")[2])["message"]
    assert first["content"] == []
    assert first["stop_reason"] is None
    assert first["usage"]["output_tokens"] == 1
    last = json.loads(events[-2].partition(b"data: ")[2])
    assert last["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert last["usage"]["output_tokens"] == 89
    unmetered = {"type": "message", "content": [], "stop_reason": "end_turn"}
    start = (table.ANTHROPIC.unfold(streams.packed(unmetered)) or (b"",))[0]
    assert b'"usage":{"input_tokens":0' in start


def test_why_an_answer_stopped_is_told_at_its_end() -> None:
    why = {"type": "refusal", "category": "x"}
    body = {"type": "message", "content": [], "stop_reason": "refusal", "stop_details": why}
    events = table.ANTHROPIC.unfold(streams.packed(body)) or ()
    start, end = (json.loads(events[at].partition(b"data: ")[2]) for at in (0, -2))
    assert start["message"]["stop_details"] is None
    assert end["delta"]["stop_details"] == why
