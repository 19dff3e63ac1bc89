from __future__ import annotations

import json

import pytest

from fleet.core.profile import OutputFormat
from fleet.core.usage import Usage
from fleet.worker.story import listener
from fleet.worker.story.reading import LONGEST_LINE, Listener


def hearing(output: OutputFormat) -> Listener:
    made = listener(output)
    assert made is not None
    return made


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


CLAUDE = lines(
    {"type": "system", "subtype": "init", "session_id": "s-1", "model": "claude-x"},
    {
        "type": "assistant",
        "session_id": "s-1",
        "message": {
            "id": "msg_1",
            "content": [{"type": "text", "text": "I will\nlook."}],
            "usage": {"input_tokens": 10, "output_tokens": 1},
        },
    },
    {
        "type": "assistant",
        "message": {
            "id": "msg_1",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}],
            "usage": {"input_tokens": 10, "output_tokens": 20},
        },
    },
    {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]}},
    {
        "type": "assistant",
        "message": {
            "id": "msg_2",
            "content": [{"type": "text", "text": "Done."}],
            "usage": {
                "input_tokens": 5,
                "output_tokens": 7,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_1h_input_tokens": 10},
            },
        },
    },
)
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "num_turns": 2,
    "total_cost_usd": 0.25,
    "result": "Done.",
    "session_id": "s-1",
}


def test_a_claude_that_was_cut_off_is_counted_by_its_answers() -> None:
    heard = hearing(OutputFormat.CLAUDE)
    heard.hear(CLAUDE)
    story = heard.story
    assert (story.session, story.model, story.said) == ("s-1", "claude-x", "Done.")
    assert (story.turns, story.tool_calls, story.ended, story.error) == (2, 1, False, "")
    assert story.usage == Usage(
        input=15, cache_read=100, cache_write_5m=20, cache_write_1h=10, output=27
    )
    assert story.cost_usd is None


def test_a_claude_that_ended_says_what_it_used_itself() -> None:
    heard = hearing(OutputFormat.CLAUDE)
    spent = {"input_tokens": 3, "output_tokens": 4}
    heard.hear(CLAUDE + lines(RESULT | {"usage": spent}))
    story = heard.finish()
    assert story.ended
    assert story.usage == Usage(input=3, output=4)
    assert story.cost_usd == 0.25
    assert story.error == ""


def test_a_success_that_is_an_error_is_an_error() -> None:
    heard = hearing(OutputFormat.CLAUDE)
    heard.hear(lines(RESULT | {"is_error": True, "result": "API Error: 529"}))
    assert heard.story.error == "API Error: 529"
    heard.hear(lines({"type": "result", "subtype": "error_max_turns", "is_error": True}))
    assert heard.story.error == "error_max_turns"


def test_mini_tells_its_turns_at_the_end() -> None:
    heard = hearing(OutputFormat.JSONL)
    heard.hear(
        lines(
            {"type": "start", "model": "m"},
            {"type": "assistant", "text": "Look."},
            {"type": "tool", "command": "ls"},
            {"type": "tool_result", "exit": 0, "bytes": 3},
            {"type": "retry", "reason": "HTTP 529", "wait_s": 1},
            {
                "type": "result",
                "turns": 2,
                "usage": {"input_tokens": 8, "output_tokens": 9},
                "stop": "error",
                "error": "HTTP 401",
            },
        )
    )
    story = heard.finish()
    assert (story.model, story.turns, story.tool_calls) == ("m", 2, 1)
    assert (story.usage, story.error) == (Usage(input=8, output=9), "HTTP 401")


@pytest.mark.parametrize("step", [1, 2, 7, 64, 10_000])
def test_output_may_come_in_any_pieces(step: int) -> None:
    heard = hearing(OutputFormat.CLAUDE)
    whole = b"(node:1) Warning: {not json\n{broken\n[1]\n" + CLAUDE + lines(RESULT)[:-1]
    for at in range(0, len(whole), step):
        heard.hear(whole[at : at + step])
    assert heard.finish().ended
    assert heard.story.turns == 2


def test_a_line_too_long_to_hold_is_passed_over() -> None:
    heard = hearing(OutputFormat.CLAUDE)
    heard.hear(b'{"type": "result", "x": "')
    for _ in range(LONGEST_LINE // (1 << 20) + 1):
        heard.hear(b"x" * (1 << 20))
    heard.hear(b'"}\n' + CLAUDE)
    assert not heard.story.ended
    assert heard.story.turns == 2


@pytest.mark.parametrize(
    "event",
    [
        {"type": "assistant", "message": None},
        {"type": "assistant", "message": {"content": "text", "usage": [1]}},
        {"type": "assistant", "message": {"content": [1, {"type": "text", "text": 3}]}},
        {"type": "result", "usage": {"input_tokens": -1}, "total_cost_usd": "much"},
        {"type": ["odd"], "session_id": 7},
    ],
)
def test_what_cannot_be_understood_is_passed_over(event: object) -> None:
    heard = hearing(OutputFormat.CLAUDE)
    heard.hear(lines(event))
    story = heard.finish()
    assert (story.session, story.usage, story.cost_usd) == ("", Usage(), None)


def test_plain_text_has_no_story() -> None:
    assert listener(OutputFormat.TEXT) is None
