from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fleet.proxy.dialects import chat
from fleet.proxy.dialects.splice import with_member, without_member, without_stream
from tests.proxy.dialects.streams import CHAT_USAGE, choice, chunk, members

NAMES = st.sampled_from(["stream", "a", 'b"c', "é", "messages", "back\\slash"])
VALUES = st.none() | st.integers() | st.text() | st.lists(st.text()) | st.just({"stream": 1})
SPACE = st.text(alphabet=" \t\r\n", max_size=2)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An object with white space wherever it may be."""
    said = draw(st.dictionaries(NAMES, VALUES, max_size=5))
    escaped = draw(st.booleans())
    gaps = iter(draw(st.lists(SPACE, min_size=30, max_size=30)))
    parts = (
        f"{next(gaps)}{json.dumps(name, ensure_ascii=escaped)}{next(gaps)}:"
        f"{next(gaps)}{json.dumps(value)}{next(gaps)}"
        for name, value in said.items()
    )
    inner = ",".join(parts) or next(gaps)
    return f"{next(gaps)}{{{inner}}}{next(gaps)}".encode()


@given(bodies())
def test_setting_a_member_changes_nothing_else(body: bytes) -> None:
    before = json.loads(body)
    after = with_member(body, members(body), "stream", b"true")
    assert json.loads(after) == {**before, "stream": True}
    if "stream" in before:
        assert len(after) - len(body) == len("true") - len(bytes(members(body)["stream"]))
    else:
        at = body.index(b"{") + 1
        assert after.startswith(body[:at])
        assert after.endswith(body[at:])


@given(bodies())
def test_removing_a_member_keeps_the_others_as_they_are_written(body: bytes) -> None:
    before = json.loads(body)
    after = without_stream(body, members(body))
    assert json.loads(after) == {name: before[name] for name in before if name != "stream"}
    kept = members(after)
    assert {name: bytes(raw) for name, raw in kept.items()} == {
        name: bytes(raw) for name, raw in members(body).items() if name != "stream"
    }
    if "stream" not in before:
        assert after == body


def test_the_bytes_around_a_change_are_the_clients_own() -> None:
    body = b'{ "model" : "m",\n "stream" : false , "n": 1e0 }'
    assert with_member(body, members(body), "stream", b"true") == (
        b'{ "model" : "m",\n "stream" : true , "n": 1e0 }'
    )
    assert without_member(body, members(body), "stream") == b'{ "model" : "m",\n "n": 1e0 }'
    assert without_member(body, members(body), "n") == b'{ "model" : "m",\n "stream" : false  }'
    assert without_member(b'{"stream":true}', members(b'{"stream":true}'), "stream") == b"{}"


def test_a_body_that_names_a_member_twice_means_one_thing_afterwards() -> None:
    body = b'{"stream":false,"a":1,"stream":true,"a":[2]}'
    after = with_member(body, members(body), "stream", b"true")
    assert after.count(b'"stream"') == after.count(b'"a"') == 1
    assert json.loads(after) == {"stream": True, "a": [2]}
    assert json.loads(without_member(body, members(body), "stream")) == {"a": [2]}
    sly = b'{"a":{"x":12345,"z":0},"a":"12345678","z":0}'  # the lengths fit the wrong places
    after = with_member(sly, members(sly), "z", b"true")
    assert json.loads(after) == {"a": "12345678", "z": True}


def test_usage_is_asked_for_with_the_fewest_changed_bytes() -> None:
    body = b'{"model":"m","messages":[]}'
    assert chat.with_usage(body, members(body)) == (
        b'{"stream_options":{"include_usage":true},"model":"m","messages":[]}'
    )
    asked = b'{"stream_options": {"include_usage": true}, "model":"m"}'
    assert chat.with_usage(asked) is asked
    other = b'{"stream_options": {"include_obfuscation": false}, "model" :"m"}'
    assert chat.with_usage(other) == (
        b'{"stream_options": {"include_obfuscation":false,"include_usage":true}, "model" :"m"}'
    )
    null = b'{"model":"m","stream_options":null}'
    assert chat.with_usage(null) == b'{"model":"m","stream_options":{"include_usage":true}}'


def test_what_only_the_provider_can_refuse_is_passed_on() -> None:
    for body in (b'{"stream_options":7}', b"[]", b"", b"{"):
        assert chat.with_usage(body) == body
    assert chat.with_stream(b"[]") == b"[]"
    assert chat.with_stream(b'{"model":"m"}') == b'{"stream":true,"model":"m"}'


def test_usage_is_taken_out_of_a_chunk_that_says_more() -> None:
    both = chunk(choice("stop", content="x"), usage=CHAT_USAGE)
    alone = chat.without_usage(both)
    assert alone == chunk(choice("stop", content="x"))
    assert chat.without_usage(alone) is alone
    assert chat.without_usage(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"
