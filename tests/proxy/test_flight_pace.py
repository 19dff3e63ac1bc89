from __future__ import annotations

from fleet.proxy.answer import Form
from fleet.proxy.flight import AHEAD_ENTRIES, SHARED_BYTES
from tests.proxy.outlets import (
    ANSWER,
    CLOSE,
    EVENT_STREAM,
    JSON,
    LAST,
    STOP,
    word,
)
from tests.proxy.trips import LOST, trip


def test_a_slow_reader_slows_nobody_else() -> None:
    t = trip()
    _, slow = t.board("one")
    _, quick = t.board("two")
    t.sent.stream(*ANSWER[:3])
    slow.writable = False
    for number in range(600):
        t.flight.data(word(str(number)))
    assert not t.sent.paused
    assert len(quick.body) > len(slow.body)
    slow.make_room()
    assert slow.body == quick.body


def test_when_all_are_slow_the_upstream_waits() -> None:
    t = trip()
    _, one = t.board("one")
    _, two = t.board("two")
    t.sent.stream(*ANSWER[:3])
    one.writable = two.writable = False
    for number in range(AHEAD_ENTRIES + 5):
        t.flight.data(word(str(number)))
    assert t.sent.paused
    one.make_room()
    assert not t.sent.paused
    t.flight.data(word("last"))
    two.make_room()
    assert one.body == two.body


def test_a_paused_upstream_is_resumed_when_the_slow_ones_leave() -> None:
    t = trip()
    slow, outlet = t.board()
    t.sent.stream(*ANSWER[:3])
    outlet.writable = False
    for number in range(AHEAD_ENTRIES + 5):
        t.flight.data(word(str(number)))
    assert t.sent.paused
    t.flight.leave(slow)
    assert not t.sent.paused


def test_an_answer_too_long_to_keep_goes_to_those_aboard_only() -> None:
    t = trip()
    _, outlet = t.board()
    t.sent.stream(*ANSWER[:3])
    long = word("x" * 1_000_000)
    sizes = 0
    for _ in range(SHARED_BYTES // len(long) + 2):
        t.flight.data(long)
        sizes += len(long)
    assert "unshared" in t.told.said
    kept = sum(map(len, t.flight.log))
    assert kept < SHARED_BYTES < sizes
    for event in (CLOSE, LAST, STOP):
        t.flight.data(event)
    t.flight.end()
    assert len(outlet.body) == sizes + len(b"".join((*ANSWER[:3], CLOSE, LAST, STOP)))


def test_a_body_too_long_to_hold_is_passed_on_as_it_comes() -> None:
    t = trip(stream=False)
    _, outlet = t.board(stream=False)
    t.flight.head(200, JSON)
    piece = b"x" * 1_000_000
    for _ in range(20):
        t.flight.data(piece)
    t.flight.end()
    assert outlet.body == piece * 20
    assert outlet.ended


def test_a_cut_in_what_cannot_be_read_cuts_the_client_off() -> None:
    t = trip()
    _, outlet = t.board()
    t.flight.head(200, (*EVENT_STREAM, (b"content-encoding", b"gzip")))
    t.flight.data(b"\x1f\x8b...")
    t.flight.failed(LOST)
    assert t.flight.form is Form.RAW
    assert outlet.aborted
    assert not outlet.ended
