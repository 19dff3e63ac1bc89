from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.agents.mini_process import end, eventually, gone, run, start
from tests.agents.scripted_model import Json, call, scripted, streamed, text

DONE = streamed(text("Done."))


def told(cwd: Path, command: str, *options: str, **env: str) -> Json:
    """What the model is told of a command."""
    with scripted(streamed(call(command), stop="tool_use"), DONE) as model:
        assert run(model.url, cwd, *options, **env).code == 0
    return model.last


def test_a_failure_is_told_with_its_code(tmp_path: Path) -> None:
    result = told(tmp_path, "echo no >&2; exit 3")
    assert result["is_error"] is True
    assert result["content"] == "no\n\n[exit 3]"


def test_silence_is_told_too(tmp_path: Path) -> None:
    assert told(tmp_path, "true")["content"] == "[no output]"


def test_a_call_without_a_command_is_an_error_and_no_crash(tmp_path: Path) -> None:
    empty = {"type": "tool_use", "id": "x", "name": "bash", "input": {}}
    with scripted(streamed(empty, stop="tool_use"), DONE) as model:
        assert run(model.url, tmp_path).code == 0
    assert model.last["is_error"] is True


def test_a_command_that_cannot_be_started_is_an_error_and_no_crash(tmp_path: Path) -> None:
    result = told(tmp_path, f"echo {'x' * 200_000}")
    assert result["is_error"] is True
    assert "cannot be run" in result["content"]


def test_a_long_output_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    shown = told(tmp_path, "seq 1 100000")["content"]
    assert shown.startswith("1\n2\n") and shown.endswith("99999\n100000\n")
    assert "572511 bytes left out" in shown
    assert len(shown) < 17 * 1024


def test_a_command_has_no_input_and_no_token(tmp_path: Path) -> None:
    result = told(tmp_path, "cat; env | grep -c ANTHROPIC", ANTHROPIC_AUTH_TOKEN="t")
    assert result["content"] == "0\n\n[exit 1]"


def test_a_command_past_its_time_is_killed_with_its_group(tmp_path: Path) -> None:
    command = "echo begun; sleep 300 & echo $! > pid; wait"
    result = told(tmp_path, command, "--tool-timeout", "0.4")
    assert result["is_error"] is True
    assert result["content"] == "begun\n\n[timed out after 0.4 s: killed]"
    assert eventually(lambda: gone(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize("noise", ["sleep 300", "while :; do echo x; done"])
def test_what_a_command_leaves_behind_is_ended_and_not_waited_for(
    tmp_path: Path, noise: str
) -> None:
    began = time.monotonic()
    result = told(tmp_path, f"{{ {noise}; }} & echo $! > pid; echo back")
    assert time.monotonic() - began < 10
    assert "back\n" in result["content"] and result["is_error"] is False
    assert eventually(lambda: gone(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_the_command_it_runs(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    pid = tmp_path / "pid"
    asks = call("trap '' TERM INT; sleep 300 & echo $! $$ > new; mv new pid; wait")
    with scripted(streamed(asks, stop="tool_use")) as model:
        process = start(model.url, tmp_path)
        assert eventually(pid.exists)
        process.send_signal(number)
        assert end(process).code == code
    for child in pid.read_text().split():
        assert eventually(lambda child=child: gone(int(child)))  # type: ignore[misc]


def test_a_command_can_be_ended_by_signals_itself(tmp_path: Path) -> None:
    result = told(tmp_path, "sleep 300 & kill -TERM $!; wait $!; echo $?")
    assert result["content"].endswith("143\n")
