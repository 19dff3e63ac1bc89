"""Folding and unfolding: what providers stream, what is cut or malformed."""

from __future__ import annotations

import json

import pytest

from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Dialect
from tests.proxy.dialects import streams
from tests.proxy.dialects.streams import (
    CALL_ITEM,
    MESSAGE_ITEM,
    Json,
    folded,
    piece,
    plain,
    response,
    said,
)

WHOLE: list[tuple[Dialect, tuple[bytes, ...]]] = [
    (table.ANTHROPIC, streams.ANTHROPIC),
    (table.CHAT, streams.CHAT),
    (table.RESPONSES, streams.RESPONSES),
    (table.GEMINI, streams.GEMINI),
]


@pytest.mark.parametrize(("dialect", "events"), WHOLE)
def test_a_stream_folds_alike_however_it_is_cut_and_never_when_truncated(
    dialect: Dialect, events: tuple[bytes, ...]
) -> None:
    body = dialect.fold(events)
    assert body is not None
    assert dialect.fold([b"".join(events)]) == body
    assert dialect.fold([*events[:-1], events[-1].strip()]) == body
    assert dialect.fold([b": comment\n\n", *events]) == body
    for at in range(len(events) - 1):
        assert dialect.fold(events[:at]) is None
    assert dialect.fold([events[0], b"data: {broken\n\n", *events[1:]]) is None
    assert dialect.fold([*events[:-2], dialect.broken("cut")]) is None


@pytest.mark.parametrize(("dialect", "events"), WHOLE)
def test_what_was_folded_unfolds_to_the_same_answer(
    dialect: Dialect, events: tuple[bytes, ...]
) -> None:
    body = dialect.fold(events)
    assert body is not None
    again = dialect.unfold(body)
    assert again is not None
    assert json.loads(dialect.fold(again) or b"") == json.loads(body)


@pytest.mark.parametrize(("dialect", "_"), WHOLE)
def test_what_is_no_answer_is_not_unfolded(dialect: Dialect, _: object) -> None:
    for body in (b"", b"[]", b"{}", b"null", b'{"error":{}}', b'{"type":"message"}', b"<html>"):
        assert dialect.unfold(body) is None
    for odd in (b'{"object":"chat.completion","choices":[7]}', b'{"type":"message","content":[7]}'):
        assert dialect.unfold(odd) is None


def test_a_responses_stream_folds_to_what_its_last_event_holds() -> None:
    events = streams.RESPONSES
    assert (
        folded(table.RESPONSES, *events)
        == json.loads(events[-1].partition(b"data: ")[2])["response"]
    )
    incomplete = response("incomplete", MESSAGE_ITEM, incomplete_details={"reason": "x"})
    assert folded(table.RESPONSES, said("incomplete", response=incomplete)) == incomplete


def test_an_empty_output_is_rebuilt_from_the_items() -> None:
    done = [
        said("output_item.done", output_index=at, item=item)
        for at, item in ((1, CALL_ITEM), (0, MESSAGE_ITEM))
    ]
    body = folded(table.RESPONSES, *done, said("completed", response=response()))
    assert body == response("completed", MESSAGE_ITEM, CALL_ITEM)
    whole = response("completed", CALL_ITEM)
    assert folded(table.RESPONSES, *done, said("completed", response=whole)) == whole


def test_a_responses_stream_that_failed_or_does_not_parse_is_not_folded() -> None:
    bad = {**CALL_ITEM, "arguments": '{"a"'}
    assert folded(table.RESPONSES, said("completed", response=response("completed", bad))) is None
    assert folded(table.RESPONSES, said("failed", response=response("failed"))) is None
    assert folded(table.RESPONSES, said("completed")) is None


def test_an_answer_that_still_runs_is_not_unfolded() -> None:
    assert table.RESPONSES.unfold(streams.packed(response("in_progress"))) is None


def test_unfolded_responses_are_numbered_and_name_their_items() -> None:
    body = table.RESPONSES.fold(streams.RESPONSES) or b""
    events = [json.loads(e.partition(b"data: ")[2]) for e in table.RESPONSES.unfold(body) or ()]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["usage"] is None
    done = [event["item"]["id"] for event in events if event["type"].endswith("item.done")]
    assert done == ["rs_1", "msg_1", "fc_1"]


def test_a_gemini_stream_folds_to_one_answer() -> None:
    assert folded(table.GEMINI, *streams.GEMINI) == {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"text": "hm, ", "thought": True},
                        {"text": "Hello there"},
                        {"functionCall": {"name": "read", "args": {"path": "a.py"}}},
                    ],
                    "role": "model",
                },
                "index": 0,
                "finishReason": "STOP",
            }
        ],
        "modelVersion": "gemini-test",
        "usageMetadata": {
            "promptTokenCount": 50,
            "totalTokenCount": 50,
            "cachedContentTokenCount": 20,
            "candidatesTokenCount": 9,
            "thoughtsTokenCount": 6,
        },
    }


def test_signed_parts_and_calls_in_pieces() -> None:
    signed = folded(
        table.GEMINI,
        piece({"text": "a"}),
        piece({"text": "b", "thoughtSignature": "s"}),
        piece({"text": "c"}, finish="STOP"),
    )
    assert signed is not None
    assert "thoughtSignature" in json.dumps(signed)
    told = piece({"functionCall": {"name": "f", "willContinue": True}}, finish="STOP")
    assert folded(table.GEMINI, told) is None


def test_a_blocked_prompt_folds_to_its_reason() -> None:
    blocked: Json = {"promptFeedback": {"blockReason": "SAFETY"}}
    assert folded(table.GEMINI, plain(blocked)) == blocked
    assert folded(table.GEMINI, plain({"usageMetadata": {}})) is None
