from __future__ import annotations

import pytest

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Endpoint, Meter, Sort
from tests.proxy.dialects.streams import (
    CHAT,
    CHAT_USAGE,
    DONE,
    Json,
    call,
    choice,
    chunk,
    packed,
    plain,
    read,
)

P, C, U, END, ERROR = Sort.PREAMBLE, Sort.CONTENT, Sort.USAGE, Sort.END, Sort.ERROR
FULL = Usage(input=26, cache_read=64, output=12, reasoning=4)


def metered(*events: bytes) -> tuple[Meter, list[Sort]]:
    return read(table.CHAT, Endpoint.CHAT, events)


def whole(body: object, endpoint: Endpoint = Endpoint.CHAT) -> Meter:
    meter, _ = read(table.CHAT, endpoint, ())
    meter.whole(body if isinstance(body, bytes) else packed(body))
    return meter


def test_a_whole_stream_is_read() -> None:
    meter, sorts = metered(*CHAT)
    assert sorts == [P, C, C, C, C, C, C, U, END]
    assert (meter.usage, meter.ended, meter.storable) == (FULL, True, True)


@pytest.mark.parametrize(
    ("event", "sort"),
    [
        (chunk(choice(role="assistant", content="")), P),
        (chunk(choice(role="assistant", content=None)), P),
        (chunk(choice(role="assistant", content="a")), C),
        (chunk(choice(content="a")), C),
        (chunk(choice(content="a"), usage=None), C),
        (chunk(choice("stop", content="a")), C),
        (chunk(choice()), P),
        (chunk(choice("stop")), P),
        (chunk(choice(reasoning_content="a")), C),
        (chunk(choice(reasoning="a")), C),
        (chunk(choice(refusal="a")), C),
        (chunk(choice(tool_calls=call(0, "", id="c", name="f"))), C),
        (chunk(choice(tool_calls=call(0, "{"))), C),
        (chunk(choice(function_call={"name": "f", "arguments": ""})), C),
        (chunk(choice(), choice(index=1, content="b")), C),
        (chunk(usage=CHAT_USAGE), U),
        (chunk(choice("stop"), usage=CHAT_USAGE), P),
        (chunk(prompt_filter_results=[]), P),
        (DONE, END),
        (b"data:[DONE]\n\n", END),
        (b"data: [DONE]\r\n\r\n", END),
        (b"data: [DONE]", END),
        (plain({"error": {"message": "no", "code": 500}}), ERROR),
        (b'event: error\ndata: {"message":"no"}\n\n', ERROR),
        (b'error: {"message":"no"}\n\n', ERROR),
        (b": keepalive\n\n", P),
        (b'data: {"choices":\n\n', P),
        (plain({"choices": [{"delta": None}]}), P),
        (plain({"choices": [{"index": "0", "delta": {"content": "a"}}]}), C),
        (plain({"choices": [{"delta": {"content": [{"type": "text", "text": "a"}]}}]}), C),
        (b'data: { "choices": [ {"index": 0, "delta": {"content": "a"} } ] }\n\n', C),
        (b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"a"}}]}\n\n', C),
    ],
)
def test_each_kind_of_event_is_known_before_there_is_content(event: bytes, sort: Sort) -> None:
    assert metered(event)[1] == [sort]


def usage_of(*events: bytes) -> Usage:
    return metered(*events)[0].usage


def test_usage_may_come_beside_the_last_choices() -> None:
    assert usage_of(chunk(choice(content="a")), chunk(choice("stop"), usage=CHAT_USAGE)) == FULL
    assert usage_of(chunk(choice(content="a", index=0), usage=CHAT_USAGE)) == FULL


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (CHAT_USAGE, FULL),
        ({"prompt_tokens": 9, "completion_tokens": 3}, Usage(input=9, output=3)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": None},
            Usage(input=9, output=3),
        ),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 50}},
            Usage(cache_read=9),
        ),
        (
            {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "completion_tokens": 1},
            Usage(input=5, cache_read=4, output=1),
        ),
        (
            {
                "prompt_tokens": 100,
                "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 30},
                "completion_tokens": 1,
            },
            Usage(input=50, cache_read=20, cache_write_5m=30, output=1),
        ),
        ({"prompt_tokens": -9, "completion_tokens": 10**15, "total_tokens": 1}, Usage()),
        ({"prompt_tokens": "9", "completion_tokens": True}, Usage()),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 10,
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
            Usage(input=5, output=210, reasoning=200),
        ),
    ],
)
def test_cached_tokens_are_taken_out_of_the_prompt(counts: Json, usage: Usage) -> None:
    assert usage_of(chunk(usage=counts)) == usage
    assert whole({"choices": [], "usage": counts}).usage == usage


def test_llama_timings_stand_beside_usage_or_for_it() -> None:
    timings: Json = {"cache_n": 30, "prompt_n": 12, "predicted_n": 7, "predicted_ms": 3.5}
    alone = chunk(choice("stop"), timings=timings)
    assert usage_of(alone) == Usage(input=12, cache_read=30, output=7)
    counts: Json = {"prompt_tokens": 42, "completion_tokens": 7}
    assert usage_of(chunk(usage=counts, timings=timings)) == Usage(
        input=12, cache_read=30, output=7
    )
    odd = chunk(usage=counts, timings={"cache_n": 4000})
    assert usage_of(odd) == Usage(input=42, output=7)


def test_a_cut_stream_is_estimated_from_what_was_seen() -> None:
    meter, _ = metered(
        chunk(choice(content="x" * 60)),
        chunk(choice(reasoning_content="y" * 20)),
        chunk(choice(tool_calls=call(0, "z" * 40, id="c", name="f"))),
        chunk(choice(tool_calls=call(0, "z" * 40))),
    )
    assert meter.usage == Usage(output=40, estimated=True)
    assert (meter.ended, meter.storable) == (False, False)
    assert usage_of() == NOTHING


@pytest.mark.parametrize(
    ("finish", "storable"),
    [
        ("stop", True),
        ("tool_calls", True),
        ("function_call", True),
        ("length", False),
        ("content_filter", False),
        (None, False),
    ],
)
def test_only_answers_that_ended_well_are_stored(finish: str | None, storable: bool) -> None:
    said = chunk(choice(content="a"))
    meter, _ = metered(said, chunk(choice(finish)), DONE)
    assert (meter.ended, meter.storable) == (True, storable)
    at_once, _ = metered(said, chunk(choice(finish, content="b")), DONE)
    assert at_once.storable is storable
    cut, _ = metered(said, chunk(choice(finish)))
    assert (cut.ended, cut.storable) == (False, False)
    body = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": finish}]}
    assert whole(body).storable is storable


def test_every_choice_must_end_well() -> None:
    both = chunk(choice(content="a"), choice(content="b", index=1))
    assert not metered(both, chunk(choice("stop")), DONE)[0].storable
    assert metered(both, chunk(choice("stop")), chunk(choice("stop", index=1)), DONE)[0].storable
    apart = chunk(choice(content="a")), chunk(choice(content="b", index=1))
    assert not metered(*apart, chunk(choice("stop")), DONE)[0].storable
    assert not metered(DONE)[0].storable


def test_embeddings_are_input_only_and_may_be_stored() -> None:
    body: Json = {"object": "list", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    meter = whole(body, Endpoint.EMBEDDINGS)
    assert (meter.usage, meter.ended, meter.storable) == (Usage(input=8), True, True)
    assert not whole(b"<html>", Endpoint.EMBEDDINGS).ended
