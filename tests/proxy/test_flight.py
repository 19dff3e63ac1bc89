from __future__ import annotations

import json

import pytest

from fleet.core.traffic import Ended
from fleet.proxy.answer import Answer
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Asked, Endpoint
from fleet.proxy.wire import Failure, Fault, header
from tests.proxy.outlets import (
    ANSWER,
    ERROR,
    EVENT_STREAM,
    JSON,
    OPEN,
    PING,
    START,
    WHOLE,
    Outlet,
    word,
)
from tests.proxy.trips import LOST, Trip, subscriber, trip


def readers(t: Trip) -> object:
    return t.flight.consumed


def test_nothing_is_shown_before_the_first_content() -> None:
    t = trip()
    _, outlet = t.board()
    t.sent.stream(START, OPEN, PING)
    assert outlet.status == 0
    t.flight.data(word("Hel"))
    assert (outlet.status, outlet.body) == (200, START + OPEN + PING + word("Hel"))


def test_every_byte_arrives_as_it_came_however_the_reads_fall() -> None:
    t = trip()
    _, outlet = t.board()
    t.flight.head(200, EVENT_STREAM)
    raw = b"".join(ANSWER)
    for at in range(0, len(raw), 7):
        t.flight.data(raw[at : at + 7])
    t.flight.end()
    assert (outlet.body, outlet.ended, t.done) == (raw, True, ["one"])
    assert t.told.said == ["answered", "over complete"]
    assert t.flight.meter.usage.input == 7
    assert t.flight.meter.usage.output == 5


def test_late_subscribers_get_it_from_the_beginning() -> None:
    t = trip()
    _, first = t.board("one")
    t.sent.stream(*ANSWER[:3])
    _, second = t.board("two")
    assert second.body == first.body != b""
    for event in ANSWER[3:]:
        t.flight.data(event)
    t.flight.end()
    _, third = t.board("three")
    assert first.body == second.body == third.body == b"".join(ANSWER)
    assert third.ended
    assert readers(t) == {"one.1", "two.1", "three.1"}


def test_one_body_is_made_of_a_stream_for_who_wants_no_stream() -> None:
    t = trip()
    _, outlet = t.board(stream=False)
    t.sent.stream(*ANSWER)
    assert outlet.status == 0
    t.flight.end()
    assert json.loads(outlet.body)["content"] == [{"type": "text", "text": "Hello"}]
    assert header(outlet.headers, b"content-type") == b"application/json"
    assert outlet.dedup == "joined"


def test_a_stream_is_made_of_one_body_for_who_wants_a_stream() -> None:
    t = trip(stream=False)
    _, plain = t.board("one", stream=False)
    _, streamed = t.board("two", stream=True)
    t.flight.head(200, JSON)
    t.flight.data(WHOLE[:50])
    t.flight.data(WHOLE[50:])
    t.flight.end()
    assert plain.body == WHOLE
    assert streamed.body.startswith(b"event: message_start\n")
    assert streamed.body.endswith(b'data: {"type":"message_stop"}\n\n')
    assert b"Hello" in streamed.body
    assert header(streamed.headers, b"content-type").startswith(b"text/event-stream")


@pytest.mark.parametrize("said", [(), (START, OPEN), (START, PING)])
def test_a_cut_before_content_is_a_clean_status(said: tuple[bytes, ...]) -> None:
    t = trip()
    _, streamed = t.board("one")
    _, plain = t.board("two", stream=False)
    t.sent.stream(*said)
    t.flight.failed(LOST)
    for outlet in (streamed, plain):
        assert outlet.status == 502
        assert json.loads(outlet.body)["error"]["type"] == "api_error"
    assert readers(t) == set()
    assert t.told.said[-1] == "over cut"


def test_an_error_event_before_content_is_a_clean_status_too() -> None:
    t = trip()
    _, outlet = t.board()
    t.sent.stream(START, ERROR)
    assert outlet.status == 529
    assert "Overloaded" in json.loads(outlet.body)["error"]["message"]
    assert t.sent.cancelled


def test_a_cut_after_content_ends_the_stream_with_an_error_event() -> None:
    t = trip()
    _, streamed = t.board("one")
    _, plain = t.board("two", stream=False)
    t.sent.stream(*ANSWER[:3])
    t.flight.failed(LOST)
    assert streamed.body.startswith(b"".join(ANSWER[:3]))
    assert b"event: error" in streamed.body
    assert streamed.ended
    assert plain.status == 502
    assert readers(t) == set()


def test_an_error_event_after_content_reaches_the_client_as_it_came() -> None:
    t = trip()
    _, outlet = t.board()
    t.sent.stream(*ANSWER[:3], ERROR)
    assert outlet.body == b"".join((*ANSWER[:3], ERROR))
    assert outlet.ended


def test_a_stream_that_just_stops_is_not_taken_for_whole() -> None:
    t = trip()
    _, outlet = t.board()
    t.sent.stream(*ANSWER[:5])
    t.flight.end()
    assert b"event: error" in outlet.body
    assert t.flight.ended is Ended.CUT


def test_a_connection_lost_after_the_last_event_takes_nothing_away() -> None:
    t = trip()
    _, streamed = t.board("one")
    _, plain = t.board("two", stream=False)
    t.sent.stream(*ANSWER)
    t.flight.failed(LOST)
    assert (streamed.body, streamed.ended) == (b"".join(ANSWER), True)
    assert plain.body == WHOLE
    assert t.flight.ended is Ended.COMPLETE


def test_a_usage_chunk_that_the_leader_asked_for_is_only_for_those_who_did() -> None:
    asked = Asked(endpoint=Endpoint.CHAT, model="m", stream=True, wants_usage=True)
    t = trip(dialect=Chat(), asked=asked)
    _, leader = t.board("one", wants_usage=True)
    _, other = t.board("two")
    said = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
    t.sent.stream(said, usage, b"data: [DONE]\n\n")
    t.flight.end()
    assert leader.body == said + usage + b"data: [DONE]\n\n"
    assert other.body == said + b"data: [DONE]\n\n"


def test_a_refusal_passes_word_for_word() -> None:
    t = trip()
    _, outlet = t.board()
    _, plain = t.board("two", stream=False)
    body = (
        b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}'
    )
    t.flight.head(400, (*JSON, (b"retry-after", b"3"), (b"transfer-encoding", b"chunked")))
    t.flight.data(body)
    t.flight.end()
    for found in (outlet, plain):
        assert (found.status, found.body) == (400, body)
        assert header(found.headers, b"retry-after") == b"3"
        assert header(found.headers, b"transfer-encoding") == b""
    assert "answered" not in t.told.said


def test_held_back_too_long_it_is_let_go() -> None:
    t = trip()
    _, outlet = t.board()
    t.sent.stream(START, PING)
    t.flight.release()
    assert outlet.body == START + PING
    t.flight.failed(LOST)
    assert b"event: error" in outlet.body


def test_who_leaves_takes_nothing_from_the_others() -> None:
    t = trip()
    leader, gone = t.board("one")
    _, stays = t.board("two")
    t.sent.stream(*ANSWER[:3])
    gone.gone = True
    t.flight.leave(leader)
    assert t.flight.caller.key == "two.1"  # handed over
    for event in ANSWER[3:]:
        t.flight.data(event)
    t.flight.end()
    assert stays.body == b"".join(ANSWER)
    assert gone.body == b"".join(ANSWER[:3])
    assert not t.sent.cancelled


def test_the_last_to_leave_deserts_it_and_it_can_be_boarded_again() -> None:
    t = trip()
    only, _ = t.board()
    t.sent.stream(*ANSWER[:3])
    t.flight.leave(only)
    assert t.told.said[-1] == "deserted"
    t.flight.deserted_at = 5.0
    _, outlet = t.board("two")
    assert t.flight.deserted_at is None
    for event in ANSWER[3:]:
        t.flight.data(event)
    t.flight.end()
    assert outlet.body == b"".join(ANSWER)


def test_a_cancelled_flight_writes_down_what_it_has_seen() -> None:
    t = trip()
    only, _ = t.board()
    t.sent.stream(*ANSWER[:4])
    t.flight.leave(only)
    t.flight.cancel()
    assert t.sent.cancelled
    assert t.flight.ended is Ended.CANCELLED
    assert t.flight.meter.usage.input == 7
    assert t.flight.meter.usage.estimated


def test_a_kept_answer_is_one_piece_and_the_same_bytes_to_who_comes_later() -> None:
    t = trip()
    _, first = t.board("one")
    t.sent.stream(*ANSWER[:-1])
    t.flight.data(ANSWER[-1])
    t.flight.end()
    kept = t.flight.kept()
    assert len(kept.log) == 1
    later = Answer.replayed(kept, t.flight.plan)
    streamed, plain = Outlet(), Outlet()
    later.board(subscriber("two", streamed, stream=True))
    later.board(subscriber("three", plain, stream=False))
    assert streamed.body == first.body
    assert json.loads(plain.body)["content"][0]["text"] == "Hello"
    assert set(kept.consumed) == {"two.1", "three.1"}


def test_time_outs_and_dead_providers_have_statuses_of_their_own() -> None:
    for fault, status in (
        (Fault.FIRST_BYTE, 504),
        (Fault.CONNECT, 529),
        (Fault.RESET, 502),
        (Fault.PROTOCOL, 502),
    ):
        t = trip()
        _, outlet = t.board()
        t.flight.failed(Failure(fault, "why"))
        assert outlet.status == status
        assert header(outlet.headers, b"x-should-retry") == b"true"
