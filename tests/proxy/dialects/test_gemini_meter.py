from __future__ import annotations

import pytest

from fleet.core.usage import NOTHING, Usage
from fleet.proxy.dialects import table
from fleet.proxy.dialects.dialect import Endpoint, Meter, Sort
from tests.proxy.dialects.streams import GEMINI, Json, packed, piece, plain, read

P, C, END, ERROR = Sort.PREAMBLE, Sort.CONTENT, Sort.END, Sort.ERROR
TEXT: Json = {"text": "abcd"}


def metered(*events: bytes) -> tuple[Meter, list[Sort]]:
    return read(table.GEMINI, Endpoint.GENERATE, events)


def whole(body: object, endpoint: Endpoint = Endpoint.GENERATE) -> Meter:
    meter, _ = read(table.GEMINI, endpoint, ())
    meter.whole(body if isinstance(body, bytes) else packed(body))
    return meter


def test_a_whole_stream_is_read() -> None:
    meter, sorts = metered(*GEMINI)
    assert sorts == [C, C, C, END]
    assert meter.usage == Usage(input=30, cache_read=20, output=15, reasoning=6)
    assert (meter.ended, meter.storable) == (True, True)


@pytest.mark.parametrize(
    ("event", "sort"),
    [
        (piece(TEXT), C),
        (piece({"text": ""}), P),
        (piece(), P),
        (piece({"text": "hm", "thought": True}), C),
        (piece({"functionCall": {"name": "f"}}), C),
        (piece({"inlineData": {"mimeType": "image/png", "data": "eA=="}}), C),
        (piece({"text": ""}, TEXT), C),
        (piece(TEXT, finish="STOP"), END),
        (piece(finish="SAFETY"), END),
        (plain({"candidates": [{"finishReason": "STOP"}]}), END),
        (plain({"promptFeedback": {"blockReason": "SAFETY"}}), END),
        (plain({"usageMetadata": {"promptTokenCount": 4}}), P),
        (plain({"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}), ERROR),
        (b"event: error\ndata: no\n\n", ERROR),
        (b"\n\n", P),
        (b": x\n\n", P),
        (b"data: {\n\n", P),
        (plain({"candidates": [{"content": {"parts": [{"text": 7}]}}]}), P),
    ],
)
def test_each_kind_of_event_is_known_before_there_is_content(event: bytes, sort: Sort) -> None:
    assert metered(event)[1] == [sort]


def test_an_answer_has_ended_when_all_candidates_have() -> None:
    first, second = piece(TEXT), piece(TEXT, index=1)
    meter, sorts = metered(first, second, piece(finish="STOP"))
    assert (sorts, meter.ended) == ([C, C, C], False)
    meter, sorts = metered(first, second, piece(finish="STOP"), piece(finish="STOP", index=1))
    assert (sorts[-1], meter.ended, meter.storable) == (END, True, True)


def test_a_chunk_after_the_end_still_counts() -> None:
    late = plain({"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3}})
    meter, sorts = metered(piece(TEXT, finish="STOP"), late)
    assert sorts == [END, C]
    assert meter.usage == Usage(input=9, output=3)


def test_the_last_counts_win() -> None:
    events = [piece(TEXT, promptTokenCount=9, candidatesTokenCount=n) for n in (1, 5, 8)]
    last = piece(finish="STOP", candidatesTokenCount=11, toolUsePromptTokenCount=4)
    assert metered(*events, last)[0].usage == Usage(input=13, output=11)
    odd = piece(TEXT, finish="STOP", promptTokenCount=-1, candidatesTokenCount=10**15)
    assert metered(odd)[0].usage == Usage()
    more = piece(TEXT, finish="STOP", promptTokenCount=5, cachedContentTokenCount=50)
    assert metered(more)[0].usage == Usage(cache_read=5)


def test_a_cut_stream_is_estimated_from_what_was_seen() -> None:
    meter, _ = metered(piece({"text": "x" * 40}), piece({"text": "x" * 40}))
    assert meter.usage == Usage(output=20, estimated=True)
    assert (meter.ended, meter.storable) == (False, False)
    counted, _ = metered(*[piece({"text": "x" * 40}, promptTokenCount=7)] * 2)
    assert counted.usage == Usage(input=7, output=20, estimated=True)
    growing = [piece(TEXT, promptTokenCount=7, candidatesTokenCount=n) for n in (1, 40, 50)]
    meter, _ = metered(*growing)
    assert meter.usage == meter.usage == Usage(input=7, output=50, estimated=True)
    assert metered()[0].usage == NOTHING


@pytest.mark.parametrize(
    ("finish", "storable"),
    [("STOP", True), ("MAX_TOKENS", False), ("SAFETY", False), ("MALFORMED_FUNCTION_CALL", False)],
)
def test_only_answers_that_ended_well_are_stored(finish: str, storable: bool) -> None:
    event = piece(TEXT, finish=finish, promptTokenCount=1)
    meter, _ = metered(event)
    assert (meter.ended, meter.storable) == (True, storable)
    later, sorts = metered(piece(TEXT), event)
    assert (sorts, later.storable) == ([C, END], storable)
    body = whole(event[6:])
    assert (body.ended, body.storable, body.usage) == (True, storable, meter.usage)


def test_a_blocked_prompt_has_ended_and_is_not_stored() -> None:
    blocked = plain({"promptFeedback": {"blockReason": "SAFETY"}})
    meter, _ = metered(blocked)
    assert (meter.ended, meter.storable) == (True, False)
    assert not whole(blocked[6:]).storable


def test_a_stream_that_came_as_an_array_is_read() -> None:
    meter = whole(b"[" + b",\n".join(event[6:].strip() for event in GEMINI) + b"]")
    assert meter.usage == Usage(input=30, cache_read=20, output=15, reasoning=6)
    assert (meter.ended, meter.storable) == (True, True)


def test_other_endpoints_end_with_their_body() -> None:
    counted = whole({"totalTokens": 9}, Endpoint.COUNT_TOKENS)
    assert (counted.usage, counted.ended, counted.storable) == (NOTHING, True, True)
    embedded = whole({"embedding": {"values": [0.1]}}, Endpoint.EMBEDDINGS)
    assert (embedded.ended, embedded.storable) == (True, True)
    assert not whole(b"no").ended
