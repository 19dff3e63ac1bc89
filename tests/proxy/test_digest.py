from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.proxy.dialects.anthropic import Anthropic
from fleet.proxy.dialects.chat import Chat
from fleet.proxy.dialects.dialect import Dialect
from fleet.proxy.dialects.responses import Responses
from tests.proxy.fingerprint_bodies import (
    CASES,
    WRITERS,
    Body,
    Write,
    compact,
    digest_of,
)


@WRITERS
@pytest.mark.parametrize(("dialect", "body", "name", "decision"), CASES)
def test_each_member_is_in_or_out_by_decision(
    dialect: Dialect, body: Body, name: str, decision: str | None, write: Write
) -> None:
    assert decision is not None, "decide whether this member makes requests different"
    whole = digest_of(dialect, write(body))
    without = {key: value for key, value in body.items() if key != name}
    other = "another" if name != "stream" else not body[name]
    assert (digest_of(dialect, write(without)) == whole) is (decision == "out")
    assert (digest_of(dialect, write({**body, name: other})) == whole) is (decision == "out")


@WRITERS
@pytest.mark.parametrize("dialect", [Anthropic(), Chat(), Responses()])
def test_of_metadata_only_the_user_is_left_out(dialect: Dialect, write: Write) -> None:
    def digest(metadata: object) -> bytes:
        return digest_of(dialect, write({"model": "m", "metadata": metadata}))

    assert digest({"user_id": "a"}) == digest({"user_id": "b"})
    assert digest({"user_id": "a", "k": 1}) == digest({"k": 1, "user_id": {"b": 2}})
    assert digest({"user_id": "a", "k": 1}) != digest({"user_id": "a", "k": 2})
    assert digest({"user_id": "a", "k": 1}) != digest({"user_id": "a", "l": 1})
    assert digest({"k": 12, "l": 3, "user_id": ""}) != digest({"k": 1, "l": 23, "user_id": ""})
    assert digest("user_id a") != digest("user_id b")


def test_of_metadata_with_a_member_twice_everything_counts() -> None:
    def digest(metadata: str) -> bytes:
        return digest_of(Anthropic(), b'{"model":"m","metadata":%b}' % metadata.encode())

    assert digest('{"user_id":"a","k":1,"k":2}') != digest('{"user_id":"a","k":3,"k":2}')
    assert digest('{"user_id":"a","user_id":"c"}') != digest('{"user_id":"b","user_id":"c"}')


def test_no_deny_listed_name_is_left_out_deeper_down() -> None:
    def digest(user: str) -> bytes:
        return digest_of(Chat(), compact({"messages": [{"user": user, "stream": user}]}))

    assert digest("a") != digest("b")


def test_a_stream_that_is_no_switch_counts() -> None:
    assert digest_of(Chat(), b'{"stream":true}') == digest_of(Chat(), b'{"stream":false}')
    assert digest_of(Chat(), b'{"stream":1}') != digest_of(Chat(), b'{"stream":true}')


def _with_item(item: Body, *, store: object = False) -> Body:
    before: Body = {"type": "message", "id": "msg_0", "role": "user", "content": "x"}
    return {"model": "m", "input": [before, item], "store": store}


@WRITERS
@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "id": "ID", "role": "user", "content": []},
        {"type": "reasoning", "id": "ID", "summary": [], "encrypted_content": "gAAA"},
        {"role": "assistant", "content": [{"id": "msg_c"}], "id": "ID"},
        {"id": "ID", "type": "message", "content": '"id":"msg_a"'},
        {"type": "message", "role": "user", "id": "ID", "content": "é"},
    ],
)
def test_ids_of_messages_do_not_count_where_nothing_is_stored(item: Body, write: Write) -> None:
    def digest(of_item: str, store: object = False, **more: object) -> bytes:
        return digest_of(
            Responses(), write(_with_item({**item, "id": of_item, **more}, store=store))
        )

    assert digest("msg_a") == digest("msg_bbbb")
    assert digest("msg_a", more=1) != digest("msg_a", more=2)
    assert digest("msg_a", store=True) != digest("msg_b", store=True)
    assert digest("msg_a", store=None) != digest("msg_b", store=None)


@WRITERS
@pytest.mark.parametrize("kind", ["function_call", "function_call_output", "item_reference"])
def test_other_ids_count(kind: str, write: Write) -> None:
    def digest(**ids: object) -> bytes:
        return digest_of(Responses(), write(_with_item({"type": kind, **ids})))

    assert digest(id="a", call_id="c") != digest(id="b", call_id="c")
    assert digest(id="a", call_id="c") != digest(id="a", call_id="d")
    assert digest_of(
        Responses(), write(_with_item({"type": "message", "call_id": "c"}))
    ) != digest_of(Responses(), write(_with_item({"type": "message", "call_id": "d"})))


def test_an_id_further_in_counts() -> None:
    def digest(inner: str, own: str) -> bytes:
        item: Body = {"role": "user", "content": [{"id": inner}], "id": own}
        return digest_of(Responses(), compact(_with_item(item)))

    assert digest("a", "a") != digest("b", "a")
    assert digest("a", "b") != digest("b", "b")


def test_an_id_before_its_type_and_one_in_a_list_within_the_list_count() -> None:
    def digest(item: object) -> bytes:
        return digest_of(Responses(), compact({"input": [item], "store": False}))

    assert digest({"id": "a", "type": "function_call"}) != digest(
        {"id": "b", "type": "function_call"}
    )
    one = b'{"input":[0,[{"type":"message","id":"a"}], 1],"store":false}'
    assert digest_of(Responses(), one) != digest_of(Responses(), one.replace(b'"a"', b'"b"'))


@given(
    ids=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=1, max_size=4),
    others=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), max_size=4),
    role_first=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_inputs_are_the_same_only_if_they_differ_in_own_ids(
    ids: list[tuple[str, str]], others: list[tuple[str, str]], role_first: bool
) -> None:
    def items(found: list[tuple[str, str]]) -> list[Body]:
        first: Body = {"role": "user"} if role_first else {}
        return [{**first, "content": {"id": inner}, "id": own} for inner, own in found]

    def digest(found: list[tuple[str, str]]) -> bytes:
        return digest_of(Responses(), compact({"input": items(found), "store": False}))

    same = [inner for inner, _ in ids] == [inner for inner, _ in others]
    if digest(ids) == digest(others):
        assert same


def test_an_input_that_is_text_or_oddly_spaced_counts_as_it_is() -> None:
    one = b'{"input":[ {"type":"message","id":"a"}],"store":false}'
    assert digest_of(Responses(), one) != digest_of(Responses(), one.replace(b'"a"', b'"b"'))
    text = b'{"input":"\\"id\\":\\"a\\"","store":false}'
    assert digest_of(Responses(), text) != digest_of(Responses(), text.replace(b"a\\", b"b\\"))
