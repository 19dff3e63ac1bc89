from __future__ import annotations

from fleet.core.profile import OutputFormat
from fleet.core.usage import Usage
from tests.worker.story.test_reading import hearing, lines

WORKED = lines(
    {"type": "init", "session_id": "s", "model": "gemini-x"},
    {"type": "message", "role": "user", "content": "Do it."},
    {"type": "message", "role": "assistant", "content": "I lo", "delta": True},
    {"type": "message", "role": "assistant", "content": "ok.", "delta": True},
    {"type": "tool_use", "tool_name": "run_shell_command", "tool_id": "1", "parameters": {}},
    {"type": "tool_use", "tool_name": "run_shell_command", "tool_id": "2", "parameters": {}},
    {"type": "tool_result", "tool_id": "1", "status": "success"},
    {"type": "tool_result", "tool_id": "2", "status": "success"},
    {"type": "message", "role": "assistant", "content": "Do", "delta": True},
    {"type": "message", "role": "assistant", "content": "ne.", "delta": True},
)


def test_gemini_tells_its_session_its_answers_and_its_calls() -> None:
    heard = hearing(OutputFormat.GEMINI)
    heard.hear(WORKED)
    story = heard.story
    assert (story.session, story.model, story.said) == ("s", "gemini-x", "Done.")
    assert (story.turns, story.tool_calls, story.ended) == (2, 2, False)
    stats = {"input_tokens": 900, "cached": 700, "output_tokens": 40, "tool_calls": 2}
    heard.hear(lines({"type": "result", "status": "success", "stats": stats}))
    assert heard.finish().usage == Usage(input=200, cache_read=700, output=40)
    assert (heard.story.ended, heard.story.error) == (True, "")


def test_what_gemini_gave_up_for_is_told() -> None:
    heard = hearing(OutputFormat.GEMINI)
    error = {"type": "FatalTurnLimitedError", "message": "Reached max turns"}
    heard.hear(lines({"type": "result", "status": "error", "error": error}))
    assert heard.finish().error == "Reached max turns"
