"""Requests come out of the intake the same however the bytes were cut up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.proxy.http.heads import LOOPBACK, Names, Refusal
from fleet.proxy.http.intake import Intake
from fleet.proxy.http.limits import Limits

LIMITS = Limits(body=5000, head=2000)
NAMES = Names.of(LOOPBACK, 8000)
HEAD = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b'5\r\nhello\r\n1;a="b;c"\r\n,\r\n0007\r\n wor\r\nd\r\n0;last\r\n\r\n'


def run(pieces: list[bytes]) -> list[tuple[str, bytes]]:
    """What comes out, and the status of the refusal that ended it."""
    intake = Intake(LIMITS, NAMES)
    taken: list[tuple[str, bytes]] = []
    try:
        for piece in pieces:
            while (found := intake.take(piece)) is not None:
                taken.append((found[0].target, found[1]))
                piece = b""
    except Refusal as refusal:
        taken.append((str(refusal.status), b""))
    return taken


def test_a_chunked_body_may_be_split_anywhere() -> None:
    whole = CHUNKED + CHUNKS + CHUNKED + b"0\r\n\r\n"
    expected = [("/a", b"hello, wor\r\nd"), ("/a", b"")]
    assert run([whole]) == expected
    assert run([whole[at : at + 1] for at in range(len(whole))]) == expected
    for at in range(len(whole)):
        assert run([whole[:at], whole[at:]]) == expected, at


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"5\r\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n",
        b";a\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_a_bad_chunk_is_bad_wherever_it_is_split(chunks: bytes) -> None:
    whole = CHUNKED + chunks
    assert run([whole]) == [("400", b"")]
    for at in range(len(whole)):
        assert run([whole[:at], whole[at:]]) == [("400", b"")], at


def test_a_chunked_body_has_the_same_limit_as_any_other() -> None:
    assert run([CHUNKED + b"1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n"]) == [("/a", b"x" * 5000)]
    assert run([CHUNKED + b"1389\r\n" + b"x" * 5001 + b"\r\n0\r\n\r\n"]) == [("413", b"")]
    assert run([CHUNKED, *[b"3e8\r\n" + b"x" * 1000 + b"\r\n"] * 6]) == [("413", b"")]


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(st.tuples(st.binary(max_size=60), st.booleans()), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 1200), max_size=12),
)
def test_requests_come_out_as_they_were_put_in(
    bodies: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    whole = b""
    for body, in_chunks in bodies:
        if in_chunks:
            halves = [half for half in (body[:20], body[20:]) if half]
            framed = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
            whole += CHUNKED + framed + b"0\r\n\r\n"
        else:
            whole += HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    edges = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    assert run(pieces) == [("/a", body) for body, _ in bodies]


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 200), byte=st.integers(0, 255))
def test_no_changed_byte_makes_two_requests_of_one(at: int, byte: int) -> None:
    whole = bytearray(CHUNKED + CHUNKS)
    whole[at % len(whole)] = byte
    taken = run([bytes(whole)])
    assert len(taken) <= 1 or taken[1][0].isdigit()
