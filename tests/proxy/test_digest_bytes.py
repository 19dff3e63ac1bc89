from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from tests.proxy.fingerprint_bodies import (
    ANTHROPIC,
    WRITERS,
    Body,
    Write,
    compact,
    digest_of,
    look,
    spaced,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAME = TEXT | st.sampled_from(["tools", "system", "messages", "metadata", "a", "b"])
BODY = st.dictionaries(NAME, VALUE, max_size=5).filter(
    lambda body: not {"stream", "metadata"} & body.keys()
)


@given(one=BODY, other=BODY, write=st.sampled_from([compact, spaced]))
@settings(deadline=None, max_examples=150)
def test_different_bodies_differ(one: Body, other: Body, write: Write) -> None:
    if compact(one) != compact(other):
        in_other_order = dict(sorted(one.items())) == dict(sorted(other.items()))
        same = digest_of(Anthropic(), write(one)) == digest_of(Anthropic(), write(other))
        assert not same or in_other_order


@given(one=TEXT, other=TEXT, cut=st.integers(0, 8))
@settings(deadline=None, max_examples=60)
def test_what_moves_from_one_member_to_the_next_is_noticed(one: str, other: str, cut: int) -> None:
    both = one + other
    bodies = [compact({"a": one, "b": other}), compact({"a": both[:cut], "b": both[cut:]})]
    digests = [digest_of(Anthropic(), body) for body in bodies]
    assert (digests[0] == digests[1]) is (bodies[0] == bodies[1])


@given(at=st.integers(0, 10_000), data=st.data())
@settings(deadline=None, max_examples=150)
def test_any_other_byte_makes_another_request(at: int, data: st.DataObject) -> None:
    body = compact({key: value for key, value in ANTHROPIC.items() if key != "metadata"})
    at %= len(body)
    other = bytes([data.draw(st.integers(32, 126))])
    changed = body[:at] + other + body[at + 1 :]
    seen = look(Anthropic(), changed)
    if changed != body and not seen.reason:
        assert seen.digest != digest_of(Anthropic(), body)


@WRITERS
def test_the_order_of_members_does_not_matter(write: Write) -> None:
    backwards = dict(reversed(ANTHROPIC.items()))
    assert look(Anthropic(), write(ANTHROPIC)).digest == digest_of(Anthropic(), write(backwards))
    assert look(Anthropic(), write(ANTHROPIC)).prefix == look(Anthropic(), write(backwards)).prefix


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":2}', b'{"a":1,"b":2,"a":1}'),
        (b'{"a":3,"b":2,"a":1}', b'{"a":1,"b":2,"a":3}'),
        (b'{"a": 1, "b": 2}', b'{"a":9,"a":1,"b": 2}'),
        (b'{"a": 1, "b": 2}', b'{"a":1,"b":2,"b":2}'),
        (b'{"a":1,"b":2,"c":3,"d":4}', b'{"a":5,"a":1,"b":2,"c":3,"d":4}'),
        (  # as long as four members with spaces between them
            b'{"ab":9,"a":1,"b":2,"c":3,"ab":4}',
            b'{"ab":8,"a":1,"b":2,"c":3,"ab":4}',
        ),
        (b'{"a": 1, "bb": 2, "c": 3}', b'{"a":9,"bb":2,"c":3,"a":1}'),
        (b'{"a":1,"b":{"c":1,"c":2}}', b'{"a":1,"b":{"c":3,"c":2}}'),
        (b'{"a":1}', b'{"\\u0061":1}'),
        (b'{"a":"Foo"}', b'{"a":"foo"}'),
        (b'{"a":"x"}', b'{"a":"x "}'),
        (b'{"a":["x","y"]}', b'{"a":["y","x"]}'),
    ],
)
def test_bodies_that_could_be_read_in_two_ways_are_not_the_same(one: bytes, other: bytes) -> None:
    assert digest_of(Chat(), one) != digest_of(Chat(), other)


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(["a", "bb", "ccc"]), st.sampled_from(["1", "22", '"x"'])),
        min_size=1,
        max_size=5,
    ),
    others=st.lists(
        st.tuples(st.sampled_from(["a", "bb", "ccc"]), st.sampled_from(["1", "22", '"x"'])),
        min_size=1,
        max_size=5,
    ),
    gaps=st.lists(st.sampled_from(["", " "]), min_size=10, max_size=10),
)
@settings(deadline=None, max_examples=300)
def test_a_member_twice_is_never_hidden_by_spacing(
    pairs: list[tuple[str, str]], others: list[tuple[str, str]], gaps: list[str]
) -> None:
    def written(found: list[tuple[str, str]], gaps: list[str]) -> bytes:
        members = [f'"{name}":{gaps[i]}{value}' for i, (name, value) in enumerate(found)]
        text = members[0]
        for i, member in enumerate(members[1:]):
            text += "," + gaps[5 + i] + member
        return f"{{{text}}}".encode()

    one, other = (
        digest_of(Chat(), written(pairs, gaps)),
        digest_of(Chat(), written(others, [""] * 10)),
    )
    if one == other:
        assert sorted(pairs) == sorted(others)
        assert len(dict(pairs)) == len(pairs) or pairs == others


def test_an_odd_layout_is_only_the_same_as_itself() -> None:
    plain, odd = b'{"a":1,"stream":true}', b'{\n "a": 1,\n "stream": true\n}'
    assert digest_of(Chat(), odd) == digest_of(Chat(), odd)
    assert digest_of(Chat(), odd) != digest_of(Chat(), plain)
    assert digest_of(Chat(), odd) != digest_of(Chat(), odd.replace(b"true", b"false"))


def test_an_old_clients_token_of_each_request_does_not_count() -> None:
    def digest(first: str, second: str = "cch=1;") -> bytes:
        blocks = [{"type": "text", "text": first}, {"type": "text", "text": second}]
        return digest_of(Anthropic(), compact({"system": blocks}))

    billing = "x-anthropic-billing-header: cc_version=2.1.150; cc_entrypoint=cli;"
    assert digest(f"{billing} cch=00a1f;") == digest(f"{billing} cch=bb23e;")
    assert digest(f"{billing} cch=00a1f;") != digest(f"{billing.replace('150', '151')} cch=00a1f;")
    assert digest(f"{billing} cch=00a1f; more") != digest(f"{billing} cch=00a1f;")
    assert digest("Say cch=00a1f;") != digest("Say cch=00a1e;")
    assert digest(f"{billing} cch=1;", "cch=1;") != digest(f"{billing} cch=1;", "cch=2;")
