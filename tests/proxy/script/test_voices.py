from __future__ import annotations

import json

import pytest

from tests.proxy.script.asking import Json, ask, question, script
from tests.proxy.script.folding import fold, said

DIALECTS = ("anthropic", "chat", "responses", "gemini")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)

EVERYTHING = """
[[rules]]
text = "Größe: 12 \\"km\\"\\nand a tab\\t😀, in a text long enough for several deltas."
thinking = "Let me think about that for more than one delta."
tools = [
  { tool = "bash", input = { command = "echo 'é\\n' > a.txt" } },
  { tool = "bash", input = { command = "git add -A" } },
]
usage = { input = 100, output = 50, cache_read = 1000, cache_write = 30 }
"""


def both(dialect: str, toml: str, **more: object) -> tuple[Json, list[Json], bytes]:
    """The answer as JSON, and as events."""
    if dialect == "chat":
        more["stream_options"] = {"include_usage": True}
    json_, stream = ask(
        script(toml),
        question(dialect, **more),  # type: ignore[arg-type]
        question(dialect, stream=True, **more),  # type: ignore[arg-type]
    )
    assert (json_.status, json_.kind) == (200, b"application/json")
    assert (stream.status, stream.kind) == (200, b"text/event-stream; charset=utf-8")
    return json_.json, stream.events, stream.body


@every_dialect
@pytest.mark.parametrize(
    "toml",
    [
        EVERYTHING,
        "",
        '[[rules]]\ntext = "a"',
        '[[rules]]\ntext = "longer"\npieces = 4\nstop = "max_tokens"',
        '[[rules]]\nthinking = "only a thought"',
        '[[rules]]\ntool = "bash"\ninput = { command = "ls" }',
        '[[rules]]\ntext = "no"\nstop = "refusal"\nchars_per_piece = 1',
    ],
)
def test_a_stream_adds_up_to_the_json_answer(dialect: str, toml: str) -> None:
    body, events, _ = both(dialect, toml)
    assert fold(dialect, events) == body


@every_dialect
def test_every_part_of_an_answer_is_said_in_every_dialect(dialect: str) -> None:
    body, events, _ = both(dialect, EVERYTHING)
    found = said(dialect, body)
    assert found.text.startswith('Größe: 12 "km"\nand a tab\t😀')
    assert found.thinking == "Let me think about that for more than one delta."
    name = {"anthropic": "Bash", "responses": "exec_command"}.get(dialect, "run_shell_command")
    key = "cmd" if dialect == "responses" else "command"
    rest = {"background": False} if dialect == "gemini" else {}
    commands = ["echo 'é\n' > a.txt", "git add -A"]
    assert found.calls == [(name, {key: command, **rest}) for command in commands]
    assert len(events) >= 8


@every_dialect
def test_the_same_request_gets_the_same_bytes(dialect: str) -> None:
    for stream in (False, True):
        asked = question(dialect, stream=stream)
        one, two, other = ask(script(EVERYTHING), asked, asked, question(dialect, "another"))
        assert (one.headers, one.body) == (two.headers, two.body)
        assert one.body != other.body
    if dialect == "anthropic":
        session = {"user_id": "session-2"}
        assert (
            ask(script(EVERYTHING), question(dialect, metadata=session))[0].json["id"]
            == (ask(script(EVERYTHING), question(dialect, metadata={"user_id": "1"}))[0].json["id"])
        )


@every_dialect
def test_usage_is_what_the_script_says(dialect: str) -> None:
    body, events, _ = both(dialect, EVERYTHING)
    if dialect == "anthropic":
        usage = body["usage"]
        assert usage["input_tokens"] == 100 and usage["output_tokens"] == 50
        assert usage["cache_read_input_tokens"] == 1000
        assert usage["cache_creation_input_tokens"] == 30
        assert usage["cache_creation"]["ephemeral_5m_input_tokens"] == 30
        assert events[0]["message"]["usage"]["output_tokens"] == 1
    elif dialect == "chat":
        usage = body["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1130, 50)
        assert usage["total_tokens"] == 1180
        assert usage["prompt_tokens_details"]["cached_tokens"] == 1000
    elif dialect == "responses":
        usage = body["usage"]
        assert (usage["input_tokens"], usage["output_tokens"]) == (1130, 50)
        assert usage["input_tokens_details"] == {"cached_tokens": 1000}
    else:
        usage = body["usageMetadata"]
        assert usage["promptTokenCount"] == 1130 and usage["cachedContentTokenCount"] == 1000
        assert usage["candidatesTokenCount"] + usage["thoughtsTokenCount"] == 50
        assert usage["totalTokenCount"] == 1180


def test_usage_is_estimated_from_the_bytes() -> None:
    upstream = script(f'[[rules]]\ntext = "{"x" * 400}"')
    short, long = ask(upstream, question("anthropic"), question("anthropic", "y" * 4000))
    assert short.json["usage"]["output_tokens"] == 100
    assert long.json["usage"]["input_tokens"] > short.json["usage"]["input_tokens"] + 900


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", ("end_turn", "stop", "completed", "STOP")),
        ("max_tokens", ("max_tokens", "length", "incomplete", "MAX_TOKENS")),
        ("refusal", ("refusal", "content_filter", "incomplete", "SAFETY")),
        ("stop_sequence", ("stop_sequence", "stop", "completed", "STOP")),
        ("pause_turn", ("pause_turn", "stop", "completed", "STOP")),
    ],
)
def test_every_dialect_has_its_words_for_the_end(stop: str, expected: tuple[str, ...]) -> None:
    toml = f'[[rules]]\ntext = "so"\nstop = "{stop}"'
    bodies = [both(dialect, toml)[0] for dialect in DIALECTS]
    assert bodies[0]["stop_reason"] == expected[0]
    assert bodies[1]["choices"][0]["finish_reason"] == expected[1]
    assert bodies[2]["status"] == expected[2]
    assert bodies[3]["candidates"][0]["finishReason"] == expected[3]


def test_a_tool_call_is_what_ends_an_answer() -> None:
    toml = '[[rules]]\ntool = "bash"\ninput = { command = "ls" }'
    assert both("anthropic", toml)[0]["stop_reason"] == "tool_use"
    assert both("chat", toml)[0]["choices"][0]["finish_reason"] == "tool_calls"
    assert both("chat", toml)[0]["choices"][0]["message"]["content"] is None


@every_dialect
def test_a_text_comes_in_so_many_pieces(dialect: str) -> None:
    pieces = both(dialect, '[[rules]]\ntext = "abcdefghij"\npieces = 5')[2]
    by_length = both(dialect, '[[rules]]\ntext = "abcdefghij"\nchars_per_piece = 2')[2]
    assert pieces == by_length
    key = {"anthropic": '"text":', "chat": '"content":', "gemini": '"text":'}.get(
        dialect, '"delta":'
    )
    for part in ("ab", "cd", "ef", "gh", "ij"):
        assert f'{key}"{part}"' in pieces.decode()


def test_more_pieces_than_characters_are_not_made() -> None:
    events = both("anthropic", '[[rules]]\ntext = "abc"\npieces = 10')[1]
    assert [e["delta"]["text"] for e in events if e["type"] == "content_block_delta"] == [*"abc"]


def test_anthropic_pings_after_the_first_block_has_begun() -> None:
    events = both("anthropic", EVERYTHING)[1]
    assert [event["type"] for event in events[:3]] == [
        "message_start",
        "content_block_start",
        "ping",
    ]


def test_chat_counts_usage_only_for_those_who_asked() -> None:
    silent, asked = ask(
        script(""),
        question("chat", stream=True),
        question("chat", stream=True, stream_options={"include_usage": True}),
    )
    assert b"usage" not in silent.body
    assert [event["choices"] for event in asked.events[-1:]] == [[]]
    assert all(event["usage"] is None for event in asked.events[:-1])
    assert silent.body.endswith(b"data: [DONE]\n\n") and asked.body.endswith(b"data: [DONE]\n\n")


def test_responses_ends_without_a_done() -> None:
    assert b"[DONE]" not in both("responses", EVERYTHING)[2]


def test_gemini_streams_an_array_without_sse() -> None:
    asked = question("gemini", stream=True)
    plain = type(asked)("POST", asked.target.replace("?alt=sse", ""), (), asked.body)
    heard, streamed = ask(script(EVERYTHING), plain, asked)
    assert heard.kind == b"application/json"
    assert json.loads(heard.body) == streamed.events


def test_half_a_surrogate_pair_in_a_question_breaks_nothing() -> None:
    toml = '[[rules]]\nwhen = "say (?P<it>.+)"\ntext = "{it}"'
    for dialect in DIALECTS:
        for stream in (False, True):
            heard = ask(script(toml), question(dialect, "say \ud83d", stream=stream))[0]
            assert heard.status == 200 and "\\ud83d" in heard.body.decode()
