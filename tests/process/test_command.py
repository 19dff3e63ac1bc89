from __future__ import annotations

import os
import time
from pathlib import Path

from fleet.process.command import NOT_FOUND, run

ENV = {"PATH": os.environ["PATH"]}


def test_what_it_said_and_how_it_ended_is_a_value(tmp_path: Path) -> None:
    done = run(["sh", "-c", "pwd; echo $ONLY; echo no >&2; exit 4"], cwd=tmp_path, env=ENV)
    assert (done.code, done.ok, done.timed_out) == (4, False, False)
    assert (done.text, done.err) == (str(tmp_path), b"no\n")
    assert done.complaint == "sh -c pwd; echo $ONLY; echo no >&2; exit 4: exit 4: no"


def test_input_goes_in_and_comes_out(tmp_path: Path) -> None:
    data = b"x" * 300_000
    done = run(["cat"], cwd=tmp_path, env=ENV, stdin=data)
    assert done.ok
    assert done.out == data


def test_a_missing_program_is_a_value_too(tmp_path: Path) -> None:
    done = run(["no-such-program-anywhere"], cwd=tmp_path, env=ENV)
    assert (done.code, done.ok) == (NOT_FOUND, False)
    assert "no-such-program-anywhere" in done.complaint


def test_a_command_that_takes_too_long_is_killed_with_its_group(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(["sh", "-c", "sleep 30 & sleep 30"], cwd=tmp_path, env=ENV, timeout_s=0.2)
    assert done.timed_out
    assert not done.ok
    assert "timed out" in done.complaint
    assert time.monotonic() - began < 5


def test_it_runs_in_a_session_of_its_own(tmp_path: Path) -> None:
    done = run(["sh", "-c", "cut -d' ' -f6 /proc/$$/stat; echo $$"], cwd=tmp_path, env=ENV)
    session, pid = done.text.split()
    assert session == pid


def test_a_descriptor_can_be_handed_down(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        done = run(
            ["sh", "-c", f"echo lent > /dev/fd/{write_end}"],
            cwd=tmp_path,
            env=ENV,
            pass_fds=[write_end],
        )
        assert done.ok
        assert os.read(read_end, 10) == b"lent\n"
    finally:
        os.close(read_end)
        os.close(write_end)
