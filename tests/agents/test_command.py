from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents.mini_process import eventually

COMMAND = Path(__file__).parents[2] / "agents" / "command.py"


def start(cwd: Path, prompt: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(COMMAND)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(prompt)
    process.stdin.close()
    process.stdin = None
    return process


def run(cwd: Path, prompt: str) -> tuple[int, str, str]:
    with start(cwd, prompt) as process:
        out, err = process.communicate(timeout=10)
    return process.returncode, out, err


def test_the_first_line_with_a_dollar_is_run_without_a_shell(tmp_path: Path) -> None:
    prompt = "Rules first.\n\n## Your task\n\n$ printf %s. 'a b' '$HOME' '|'\n$ false\n"
    assert run(tmp_path, prompt) == (0, "$ printf %s. 'a b' '$HOME' '|'\na b.$HOME.|.", "")


def test_its_exit_code_is_passed_on(tmp_path: Path) -> None:
    assert run(tmp_path, "$ sh -c 'exit 7'\n")[0] == 7


def test_the_program_gets_no_input(tmp_path: Path) -> None:
    assert run(tmp_path, "$ cat\nnot for it\n") == (0, "$ cat\n", "")


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("Do something.\n$5 is a price\n", 64),
        ("## What the last attempt ran into\n\n$ touch made\n", 64),
        ("$ 'unclosed\n", 64),
        ("$ \n", 64),
        ("$ no-such-program\n", 127),
        ("$ ./made\n", 126),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path: Path, prompt: str, code: int) -> None:
    (tmp_path / "made").mkdir()
    ended, _, complaint = run(tmp_path, prompt)
    assert ended == code
    assert complaint.startswith("command: ")


def test_signals_reach_the_program_itself(tmp_path: Path) -> None:
    with start(
        tmp_path, "$ sh -c 'trap \"exit 9\" TERM; echo > up; while :; do sleep 0.01; done'"
    ) as it:
        assert eventually((tmp_path / "up").exists)
        it.send_signal(signal.SIGTERM)
        assert it.wait(5) == 9
