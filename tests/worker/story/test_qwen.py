from __future__ import annotations

from fleet.core.profile import OutputFormat
from fleet.core.usage import Usage
from tests.worker.story.test_reading import hearing, lines


def test_what_qwen_read_from_a_cache_is_not_counted_twice() -> None:
    call = {"type": "tool_use", "id": "call_1", "name": "run_shell_command", "input": {}}
    used = {"input_tokens": 900, "cache_read_input_tokens": 700, "output_tokens": 40}
    heard = hearing(OutputFormat.QWEN)
    heard.hear(b"Ripgrep not available\n")
    heard.hear(
        lines(
            {"type": "system", "subtype": "init", "session_id": "s", "model": "qwen3"},
            {"type": "assistant", "message": {"id": "m", "content": [call], "usage": used}},
        )
    )
    story = heard.finish()
    assert (story.session, story.model, story.turns, story.tool_calls) == ("s", "qwen3", 1, 1)
    assert story.usage == Usage(input=200, cache_read=700, output=40)
