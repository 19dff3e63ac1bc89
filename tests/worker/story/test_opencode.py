from __future__ import annotations

from fleet.core.profile import OutputFormat
from fleet.core.usage import Usage
from tests.worker.story.test_reading import hearing, lines


def step(reason: str, **tokens: object) -> dict[str, object]:
    counts = {"input": 100, "output": 10, "reasoning": 5, "cache": {"read": 40, "write": 0}}
    part = {"type": "step-finish", "reason": reason, "tokens": counts | tokens, "cost": 0}
    return {"type": "step_finish", "sessionID": "ses_1", "part": part}


WORKED = lines(
    {"type": "step_start", "sessionID": "ses_1", "part": {"type": "step-start"}},
    {"type": "tool_use", "sessionID": "ses_1", "part": {"type": "tool", "tool": "bash"}},
    step("tool-calls"),
    {"type": "text", "sessionID": "ses_1", "part": {"type": "text", "text": "Done."}},
)


def test_opencode_tells_its_session_its_steps_and_what_they_took() -> None:
    heard = hearing(OutputFormat.OPENCODE)
    heard.hear(WORKED)
    assert (heard.story.turns, heard.story.ended) == (1, False)
    heard.hear(lines(step("stop")))
    story = heard.finish()
    assert (story.session, story.said) == ("ses_1", "Done.")
    assert (story.turns, story.tool_calls, story.ended) == (2, 1, True)
    assert story.usage == Usage(input=200, cache_read=80, output=30, reasoning=10)
    assert story.cost_usd is None


def test_an_error_is_told_unless_opencode_went_on() -> None:
    error = {"type": "error", "error": {"name": "APIError", "data": {"message": "Too many"}}}
    heard = hearing(OutputFormat.OPENCODE)
    heard.hear(lines(error))
    assert (heard.story.ended, heard.story.error) == (True, "Too many")
    heard.hear(lines(step("stop")))
    assert (heard.finish().ended, heard.story.error) == (True, "")
