from __future__ import annotations

import json

import pytest

from fleet.proxy.dialects import table
from tests.proxy.dialects import streams
from tests.proxy.dialects.streams import (
    CHAT_USAGE,
    DONE,
    call,
    choice,
    chunk,
    folded,
    plain,
)


def test_a_chat_stream_folds_to_its_completion() -> None:
    assert folded(table.CHAT, *streams.CHAT) == {
        "object": "chat.completion",
        "id": "chatcmpl-1",
        "created": 1_755_555_555,
        "model": "gpt-test",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": 'Let me look at "it"',
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "read", "arguments": '{"path":"a.py"}'},
                        }
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": CHAT_USAGE,
    }


def choices_of(*chunks: bytes) -> object:
    body = folded(table.CHAT, *chunks, DONE)
    return None if body is None else body["choices"]


def message_in(*chunks: bytes) -> object:
    choices = choices_of(*chunks, chunk(choice("stop")))
    assert isinstance(choices, list)
    return choices[0]["message"]


def test_padding_is_no_part_of_a_completion() -> None:
    body = folded(
        table.CHAT,
        chunk(choice(content="a"), obfuscation="xyz", usage=None),
        chunk(choice("stop"), obfuscation="xyz"),
        DONE,
    )
    assert body is not None
    assert set(body) == {"object", "id", "created", "model", "choices"}


def test_several_choices_and_calls_are_kept_apart() -> None:
    choices = choices_of(
        chunk(choice(content="a", index=1)),
        chunk(choice(content="b")),
        chunk(choice(tool_calls=[*call(1, "{", id="y", name="g"), *call(0, "{}", id="x")])),
        chunk(choice(tool_calls=call(1, "}"))),
        chunk(choice("tool_calls")),
        chunk(choice("stop", index=1, content="c")),
    )
    assert isinstance(choices, list)
    assert [one["message"]["content"] for one in choices] == ["b", "ac"]
    assert [one["id"] for one in choices[0]["message"]["tool_calls"]] == ["x", "y"]
    assert choices[0]["message"]["tool_calls"][1]["function"] == {"name": "g", "arguments": "{}"}


def test_reasoning_refusals_logprobs_and_unknown_members_are_kept() -> None:
    assert message_in(
        chunk(choice(role="assistant", content=None)),
        chunk(choice(reasoning_content="hm")),
        chunk(choice(reasoning_content=" so", refusal="no")),
        chunk(choice(annotations=[{"a": 1}], new="x")),
        chunk(choice(annotations=[{"b": 2}], new="y")),
    ) == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm so",
        "refusal": "no",
        "annotations": [{"a": 1}, {"b": 2}],
        "new": "xy",
    }
    logged = [{**choice(content="a"), "logprobs": {"content": [{"token": t}]}} for t in "ab"]
    choices = choices_of(*(chunk(one) for one in logged), chunk(choice("stop")))
    assert isinstance(choices, list)
    assert choices[0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_calls_without_a_place_are_told_apart_by_their_ids() -> None:
    one, two = call(0, '{"a":1}', id="x", name="f"), call(0, "{}", id="y", name="g")
    more = call(0, "")
    for each in (*one, *two, *more):
        del each["index"]
    message = message_in(
        chunk(choice(tool_calls=one)), chunk(choice(tool_calls=two)), chunk(choice(tool_calls=more))
    )
    assert isinstance(message, dict)
    assert [each["id"] for each in message["tool_calls"]] == ["x", "y"]


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk(choice(content="a"))],
        [chunk(choice(content="a")), chunk(choice("stop", index=1))],
        [chunk(choice(tool_calls=call(0, '{"a"', id="x"))), chunk(choice("tool_calls"))],
        [chunk(choice(function_call={"name": "f", "arguments": "{"})), chunk(choice("stop"))],
        [chunk(choice("stop")), plain({"error": {"message": "no"}})],
    ],
)
def test_a_chat_stream_that_does_not_add_up_is_not_folded(chunks: list[bytes]) -> None:
    assert choices_of(*chunks) is None


def test_an_answer_without_arguments_is_whole() -> None:
    assert choices_of(chunk(choice(tool_calls=call(0, "", id="x"))), chunk(choice("tool_calls")))


def test_unfolded_usage_comes_in_a_chunk_of_its_own() -> None:
    events = table.CHAT.unfold(table.CHAT.fold(streams.CHAT) or b"") or ()
    assert events[-1] == DONE
    usage = json.loads(events[-2][6:])
    assert (usage["choices"], usage["usage"]) == ([], CHAT_USAGE)
    assert not any(b'"usage"' in event for event in events[:-2])
