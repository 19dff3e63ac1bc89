from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.proxy.sse import Splitter, data_of, events_of, name_of

LINE_ENDS = ("\n", "\r\n", "\r")
LINES = (
    'data: {"a":1}',
    "event: ping",
    ": keep-alive",
    "data:x",
    "id: 7",
    "",
    "é✓",
    "data: [DONE]",
)
streams = st.lists(
    st.tuples(st.sampled_from(LINES), st.sampled_from(LINE_ENDS)), min_size=1, max_size=30
).map(lambda lines: "".join(text + end for text, end in lines).encode())
plain_streams = st.lists(st.sampled_from(LINES), max_size=30).map(
    lambda lines: "".join(line + "\n" for line in lines).encode()
)


def split(*reads: bytes) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    return [event for read in reads for event in splitter.feed(read)], splitter.rest


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(ends)]


@given(streams | plain_streams, st.lists(st.integers(0, 10_000), max_size=40))
def test_events_do_not_depend_on_how_a_stream_was_cut(stream: bytes, places: list[int]) -> None:
    assert split(*cut(stream, places)) == split(stream)


@settings(max_examples=50)
@given(streams)
def test_events_are_the_same_when_every_byte_comes_alone(stream: bytes) -> None:
    assert split(*(stream[at : at + 1] for at in range(len(stream)))) == split(stream)


@given(streams, st.lists(st.integers(0, 10_000), max_size=20))
def test_events_and_rest_joined_are_the_input(stream: bytes, places: list[int]) -> None:
    events, rest = split(*cut(stream, places))
    assert b"".join(events) + rest == stream
    assert all(event.endswith((b"\n", b"\r")) for event in events)


@given(st.lists(st.sampled_from(["data: a", "event: b\ndata: c", ": d"]), max_size=12))
def test_each_event_comes_alone_whatever_line_end_is_used(said: list[str]) -> None:
    for end in LINE_ENDS:
        stream = "".join(text.replace("\n", end) + end + end for text in said).encode()
        events, rest = split(stream, b"data: last")
        assert [event.decode() for event in events] == [
            text.replace("\n", end) + end + end for text in said
        ]
        assert rest == b"data: last"


def test_a_read_of_whole_events_leaves_nothing_behind() -> None:
    assert split(b"data: a\n\ndata: b\n\n") == ([b"data: a\n\n", b"data: b\n\n"], b"")
    assert split(b"data: a\r\n\r\n") == ([b"data: a\r\n\r\n"], b"")
    assert split(b"x") == ([], b"x")
    assert split(b"", b"\n", b"") == ([], b"\n")


def test_a_cr_at_the_end_waits_for_its_lf() -> None:
    assert split(b"data: a\r\n\r") == ([], b"data: a\r\n\r")
    assert split(b"data: a\r\n\r", b"\ndata: b") == ([b"data: a\r\n\r\n"], b"data: b")
    assert split(b"data: a\r\r", b"data: b") == ([b"data: a\r\r"], b"data: b")


def test_mixed_line_ends_end_an_event_too() -> None:
    mixed = b"data: a\r\n\ndata: b\n\r\ndata: c\n\n"
    assert split(mixed)[0] == [b"data: a\r\n\n", b"data: b\n\r\n", b"data: c\n\n"]


def test_an_event_past_the_limit_is_said_and_ends_everything() -> None:
    splitter = Splitter(limit=10)
    assert splitter.feed(b"data: 1\n\n") == [b"data: 1\n\n"]
    assert splitter.feed(b"data: 12345") == []
    assert splitter.overflow
    assert splitter.feed(b"\n\ndata: 2\n\n") == []
    assert splitter.rest == b""


def test_many_small_reads_of_a_long_event_are_held_within_the_limit() -> None:
    splitter = Splitter(limit=100)
    for _ in range(100):
        assert splitter.feed(b"x") == []
        assert not splitter.overflow
    splitter.feed(b"x")
    assert splitter.overflow


def test_data_lines_are_joined_and_a_leading_space_is_no_part_of_them() -> None:
    assert data_of(b"data: {}\n\n") == b"{}"
    assert data_of(b"data:{}\r\n\r\n") == b"{}"
    assert data_of(b"event: x\ndata: a\ndata:  b\n\n") == b"a\n b"
    assert data_of(b"data: a\rdata: b\r\r") == b"a\nb"
    assert data_of(b"data: a\rdata: b\n\n") == b"a\nb"
    assert data_of(b"\xef\xbb\xbfdata: a\n\n") == b"a"
    assert data_of(b": ping\n\n") == b""
    assert data_of(b"data\n\n") == b""
    assert data_of(b"\ndata: a\n\n") == b"a"


def test_an_event_is_named_by_its_last_name_line() -> None:
    assert name_of(b"event: ping\ndata: {}\n\n") == b"ping"
    assert name_of(b"data: event: x\n\n") == b""
    assert name_of(b"event:a\r\nevent: b\r\n\r\n") == b"b"
    assert name_of(b"\xef\xbb\xbfevent: first\n\n") == b"first"


def test_events_come_out_of_pieces_of_any_size() -> None:
    assert events_of([b"data: a\n\ndata: b\n\n", b"data: c\n\n"]) == [
        b"data: a\n\n",
        b"data: b\n\n",
        b"data: c\n\n",
    ]
    assert events_of([b"data: a\n\n", b"data: b"]) == [b"data: a\n\n", b"data: b"]
    assert events_of([b"data: a\r\r"]) == [b"data: a\r\r"]
    assert events_of([]) == []
