from __future__ import annotations

import pytest

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Endpoint, Meter, Sort
from tests.proxy.dialects.streams import (
    CALL_ITEM,
    MESSAGE_ITEM,
    REASONING_ITEM,
    RESPONSES,
    Json,
    named,
    packed,
    plain,
    read,
    response,
    said,
)

P, C, END, ERROR = Sort.PREAMBLE, Sort.CONTENT, Sort.END, Sort.ERROR
FULL = Usage(input=30, cache_read=40, output=30, reasoning=10)


def metered(*events: bytes) -> tuple[Meter, list[Sort]]:
    return read(table.RESPONSES, Endpoint.RESPONSES, events)


def whole(body: object) -> Meter:
    meter, _ = metered()
    meter.whole(body if isinstance(body, bytes) else packed(body))
    return meter


def test_a_whole_stream_is_read() -> None:
    meter, sorts = metered(*RESPONSES)
    assert sorts == [P, P, P, *[C] * (len(RESPONSES) - 4), END]
    assert (meter.usage, meter.ended, meter.storable) == (FULL, True, True)


@pytest.mark.parametrize(
    ("event", "sort"),
    [
        (said("created", response=response("in_progress")), P),
        (said("queued", response=response("queued")), P),
        (said("output_item.added", item=REASONING_ITEM), P),
        (said("output_item.added", item=MESSAGE_ITEM), P),
        (said("output_item.added", item=CALL_ITEM), C),
        (said("output_item.done", item=REASONING_ITEM), C),
        (said("output_text.delta", delta=""), P),
        (said("output_text.delta", delta="a"), C),
        (said("reasoning_summary_text.delta", delta="a"), C),
        (said("function_call_arguments.delta", delta="{"), C),
        (said("custom_tool_call_input.delta", delta="x"), C),
        (said("refusal.delta", delta="no"), C),
        (said("audio.delta", delta={"odd": 1}), C),
        (said("content_part.added", part={"type": "output_text", "text": ""}), P),
        (said("completed", response=response()), END),
        (said("incomplete", response=response("incomplete")), END),
        (said("failed", response=response("failed")), ERROR),
        (named({"type": "error", "code": "server_error", "message": "no"}), ERROR),
        (plain({"error": {"message": "no"}}), ERROR),
        (b"event: error\ndata: no\n\n", ERROR),
        (named({"type": "keepalive"}), P),
        (b": keepalive\n\n", P),
        (b"event: response.output_text.delta\ndata: {\n\n", P),
        (plain({"type": "response.output_text.delta", "delta": "a"}), C),
        (b'event: response.output_text.delta\r\ndata: {"type":"x.delta","delta":"a"}\r\n\r\n', C),
    ],
)
def test_each_kind_of_event_is_known_before_there_is_content(event: bytes, sort: Sort) -> None:
    assert metered(event)[1] == [sort]


def test_an_incomplete_answer_has_ended_and_is_not_stored() -> None:
    meter, _ = metered(said("incomplete", response=response("incomplete")))
    assert (meter.usage, meter.ended, meter.storable) == (FULL, True, False)
    failed, _ = metered(said("failed", response=response("failed")))
    assert (failed.usage, failed.ended, failed.storable) == (FULL, False, False)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"input_tokens": 7, "output_tokens": 3}, Usage(input=7, output=3)),
        ({"input_tokens": -7, "output_tokens": 1e30}, Usage()),
        (
            {
                "input_tokens": 100,
                "input_tokens_details": {
                    "cached_tokens": 10,
                    "cache_write_tokens": 50,
                    "cache_write_tokens_details": {"ttl_12h_tokens": 20, "ttl_30m_tokens": 30},
                },
                "output_tokens": 3,
            },
            Usage(input=40, cache_read=10, cache_write_5m=30, cache_write_1h=20, output=3),
        ),
    ],
)
def test_cached_tokens_are_taken_out_of_the_input(counts: Json, usage: Usage) -> None:
    body = response(usage=counts)
    assert metered(said("completed", response=body))[0].usage == usage
    assert whole(body).usage == usage


def test_a_cut_stream_is_estimated_from_what_was_seen() -> None:
    meter, _ = metered(
        said("created", response=response("in_progress")),
        said("output_text.delta", delta="x" * 60),
        said("function_call_arguments.delta", delta="y" * 20),
    )
    assert meter.usage == Usage(output=20, estimated=True)
    assert (meter.ended, meter.storable) == (False, False)
    assert metered()[0].usage == NOTHING


def test_a_whole_body_is_read() -> None:
    meter = whole(response("completed", MESSAGE_ITEM))
    assert (meter.usage, meter.ended, meter.storable) == (FULL, True, True)
    assert not whole(response("incomplete", MESSAGE_ITEM)).storable
    text = {"type": "message", "content": [{"type": "output_text", "text": "x" * 40}]}
    assert whole({"output": [text], "status": "completed"}).usage == Usage(
        output=10, estimated=True
    )
    assert not whole(b"{").ended
