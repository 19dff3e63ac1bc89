from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import scripted_model as script
from tests.agents.mini_process import run
from tests.agents.scripted_model import Answer, call, scripted, text

DONE = script.streamed(text("Done."))
EPHEMERAL = {"type": "ephemeral"}


@pytest.mark.parametrize("speak", [script.streamed, script.in_one_piece])
def test_it_runs_what_the_model_asks_for_and_tells_it(
    tmp_path: Path, speak: Callable[..., Answer]
) -> None:
    asks = speak(text("I look."), call("echo 'ä b' | tee out"), stop="tool_use")
    with scripted(asks, speak(text("All is well."))) as model:
        ended = run(model.url, tmp_path)
    assert ended.code == 0
    assert (tmp_path / "out").read_text() == "ä b\n"
    assert model.last == {
        "type": "tool_result",
        "tool_use_id": "call-1",
        "content": "ä b\n",
        "is_error": False,
        "cache_control": EPHEMERAL,
    }
    said = model.seen[1].body["messages"][1]
    assert said["content"] == [text("I look."), call("echo 'ä b' | tee out")]
    assert [line["type"] for line in ended.said] == [
        "start", "assistant", "tool", "tool_result", "assistant", "result",
    ]  # fmt: skip
    assert ended.of("tool_result") == [{"type": "tool_result", "exit": 0, "bytes": 5}]
    assert ended.of("result") == [
        {
            "type": "result",
            "turns": 2,
            "usage": {"input_tokens": 20, "output_tokens": 6, "cache_read_input_tokens": 4},
            "stop": "end_turn",
            "error": "",
        }
    ]


def test_every_call_of_an_answer_is_answered_in_order(tmp_path: Path) -> None:
    asks = script.streamed(call("echo 1", "a"), call("echo 2", "b"), stop="tool_use")
    with scripted(asks, DONE) as model:
        run(model.url, tmp_path)
    results = model.seen[1].body["messages"][2]["content"]
    assert [(block["tool_use_id"], block["content"]) for block in results] == [
        ("a", "1\n"),
        ("b", "2\n"),
    ]


def test_the_prefix_of_the_address_is_kept_and_the_token_sent(tmp_path: Path) -> None:
    with scripted(DONE) as model:
        run(f"{model.url}/a/SECRET/", tmp_path, ANTHROPIC_AUTH_TOKEN="t", ANTHROPIC_API_KEY="k")
    seen = model.seen[0]
    assert seen.path == "/a/SECRET/v1/messages"
    assert seen.headers["authorization"] == "Bearer t"
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "x-api-key" not in seen.headers
    assert seen.body["stream"] is True


def test_a_key_goes_into_its_own_header(tmp_path: Path) -> None:
    with scripted(script.in_one_piece(text("Done."))) as model:
        options = ("--base-url", model.url, "--no-stream", "--max-tokens", "77")
        ended = run("http://127.0.0.1:1", tmp_path, *options, ANTHROPIC_API_KEY="k")
    assert ended.code == 0
    assert model.seen[0].headers["x-api-key"] == "k"
    assert "authorization" not in model.seen[0].headers
    assert (model.seen[0].body["stream"], model.seen[0].body["max_tokens"]) == (False, 77)


def test_requests_from_two_workspaces_are_the_same_bytes(tmp_path: Path) -> None:
    with scripted(DONE, DONE) as model:
        for name in ("here", "elsewhere"):
            (tmp_path / name).mkdir()
            run(model.url, tmp_path / name, HOME=str(tmp_path / name))
    assert model.seen[0].raw == model.seen[1].raw


def test_each_request_begins_like_the_one_before_it(tmp_path: Path) -> None:
    with scripted(script.streamed(call("true"), stop="tool_use"), DONE) as model:
        run(model.url, tmp_path, prompt="Mend it.")
    first, second = (seen.body for seen in model.seen)
    assert list(first) == ["model", "max_tokens", "system", "tools", "messages", "stream"]
    assert second["system"] == first["system"] and second["tools"] == first["tools"]
    assert first["system"][-1]["cache_control"] == EPHEMERAL
    assert first["messages"][0]["content"] == [text("Mend it.") | {"cache_control": EPHEMERAL}]
    assert second["messages"][0]["content"] == [text("Mend it.")]
    assert json.dumps(second).count("cache_control") == 2


@pytest.mark.parametrize(
    "trouble",
    [
        script.broken_off("overloaded_error"),
        script.cut_short(),
        Answer((), whole=False),
        Answer((b'{"content": [',), whole=False),
    ],
    ids=["error-event", "cut-stream", "closed", "cut-json"],
)
def test_what_is_lost_on_the_way_is_sent_again_byte_for_byte(
    tmp_path: Path, trouble: Answer
) -> None:
    with scripted(trouble, DONE) as model:
        ended = run(model.url, tmp_path)
    assert ended.code == 0
    assert len(ended.of("retry")) == 1
    assert ended.of("result")[0]["turns"] == 1
    assert [line["text"] for line in ended.of("assistant")] == ["Done."]
    assert len(model.seen) == 2 and model.seen[0].raw == model.seen[1].raw


def test_a_refusal_that_may_pass_is_met_with_the_same_bytes_again(tmp_path: Path) -> None:
    refusals = (
        script.refused(429, "rate_limit_error", retry_after="0"),
        script.refused(529, "overloaded_error", retry_after="0"),
        Answer((b"<html>Bad Gateway</html>",), status=502, retry_after="0"),
    )
    with scripted(*refusals, DONE) as model:
        ended = run(model.url, tmp_path)
    assert ended.code == 0
    assert [line["reason"][:8] for line in ended.of("retry")] == [
        "HTTP 429",
        "HTTP 529",
        "HTTP 502",
    ]
    assert len(model.seen) == 4 and len({seen.raw for seen in model.seen}) == 1


def test_it_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    with scripted(script.refused(429, "rate_limit_error", retry_after="1"), DONE) as model:
        ended = run(model.url, tmp_path)
    assert ended.code == 0
    assert 1.0 <= ended.of("retry")[0]["wait_s"] <= 1.1


def test_it_gives_up_after_six_tries(tmp_path: Path) -> None:
    busy = script.refused(503, "overloaded_error", "too busy", retry_after="0")
    with scripted(*[busy] * 7) as model:
        ended = run(model.url, tmp_path)
    assert (ended.code, len(model.seen)) == (1, 6)
    result = ended.of("result")[0]
    assert result["stop"] == "error" and "too busy" in result["error"]


@pytest.mark.parametrize(
    "refusal",
    [
        script.refused(400, "invalid_request_error", "prompt is too long"),
        script.broken_off("invalid_request_error"),
    ],
    ids=["status", "event"],
)
def test_what_will_not_pass_is_not_sent_again(tmp_path: Path, refusal: Answer) -> None:
    with scripted(refusal, DONE) as model:
        ended = run(model.url, tmp_path)
    assert (ended.code, len(model.seen)) == (1, 1)
    assert "invalid_request_error" in ended.of("result")[0]["error"]


def test_a_cut_off_answer_is_gone_on_with_and_its_call_not_made(tmp_path: Path) -> None:
    cut_off = script.streamed(text("First"), call("touch made"), stop="max_tokens")
    with scripted(cut_off, DONE) as model:
        ended = run(model.url, tmp_path)
    assert ended.code == 0
    assert not (tmp_path / "made").exists()
    assert model.seen[1].body["messages"][1]["content"] == [text("First")]
    assert "length limit" in model.last["text"]


def test_it_asks_to_go_on_twice_at_most(tmp_path: Path) -> None:
    cut_off = script.streamed(text("And so on"), stop="max_tokens")
    with scripted(*[cut_off] * 4) as model:
        ended = run(model.url, tmp_path)
    assert (ended.code, len(model.seen)) == (1, 3)
    assert ended.of("result")[0]["stop"] == "max_tokens"


def test_it_stops_after_so_many_turns(tmp_path: Path) -> None:
    with scripted(*[script.streamed(call("true"), stop="tool_use")] * 3) as model:
        ended = run(model.url, tmp_path, "--max-turns", "2")
    assert (ended.code, len(model.seen)) == (1, 2)
    assert ended.of("result")[0]["stop"] == "max_turns"


def test_an_answer_that_never_says_why_it_ends_is_no_success(tmp_path: Path) -> None:
    with scripted(script.in_one_piece(text("Hm."), stop="")) as model:
        ended = run(model.url, tmp_path)
    assert (ended.code, len(model.seen)) == (1, 1)


def test_wrong_use_is_told_apart_from_failure(tmp_path: Path) -> None:
    assert run("http://127.0.0.1:1", tmp_path, prompt=" \n").code == 2
    ended = run("ftp://127.0.0.1", tmp_path)
    assert ended.code == 2 and "--base-url" in ended.complaint
