from __future__ import annotations

from fleet.core.profile import OutputFormat
from fleet.core.usage import Usage
from tests.worker.story.test_reading import hearing, lines

COMMAND = {"id": "item_0", "type": "command_execution", "command": "/bin/bash -c ls"}
WORKED = lines(
    {"type": "thread.started", "thread_id": "01a2"},
    {"type": "turn.started"},
    {"type": "item.started", "item": COMMAND | {"status": "in_progress"}},
    {"type": "item.completed", "item": COMMAND | {"exit_code": 1, "status": "failed"}},
    {"type": "item.completed", "item": {"id": "item_1", "type": "reasoning", "text": "Hm."}},
    {"type": "item.completed", "item": {"id": "item_2", "type": "agent_message", "text": "Done."}},
)


def test_codex_tells_its_thread_its_calls_and_what_they_took() -> None:
    heard = hearing(OutputFormat.CODEX)
    heard.hear(WORKED)
    assert (heard.story.session, heard.story.ended) == ("01a2", False)
    used = {"input_tokens": 900, "cached_input_tokens": 700, "output_tokens": 40}
    heard.hear(lines({"type": "turn.completed", "usage": used | {"reasoning_output_tokens": 9}}))
    story = heard.finish()
    assert (story.turns, story.tool_calls, story.said) == (2, 1, "Done.")
    assert (story.ended, story.error) == (True, "")
    assert story.usage == Usage(input=200, cache_read=700, output=40, reasoning=9)


def test_a_failed_turn_is_told_and_a_failed_command_is_not_one() -> None:
    heard = hearing(OutputFormat.CODEX)
    heard.hear(WORKED)
    heard.hear(lines({"type": "error", "message": "Reconnecting... 1/5"}))
    assert heard.story.error == ""
    heard.hear(lines({"type": "turn.failed", "error": {"message": "Quota\nexceeded"}}))
    story = heard.finish()
    assert (story.ended, story.error) == (True, "Quota exceeded")


def test_of_a_refusal_the_words_are_told_without_their_json() -> None:
    heard = hearing(OutputFormat.CODEX)
    body = '{"error":{"message":"No such model","type":"invalid_request_error","code":null}}'
    heard.hear(lines({"type": "turn.failed", "error": {"message": body}}))
    assert heard.finish().error == "No such model"
