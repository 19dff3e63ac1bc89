"""Real programs, watched by a token on their command lines instead of by the mark under test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.process.supervise import Ended, supervise

ROOT = Path(__file__).parents[2]

PRELUDE = """
import json, os, subprocess, sys
from pathlib import Path
from fleet.process.supervise import supervise
from fleet.process.tree import become_subreaper, descendants
def go(argv, **more):
    usual = dict(cwd=Path.cwd(), env=dict(os.environ), mark='t/%d' % os.getpid(), wall_s=60.0,
        transcript=Path('transcript.log'), stall_s=None, grace_s=0.3, should_stop=lambda: None)
    return supervise(argv, **{**usual, **more})
"""


def with_token(token: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if token.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.fixture
def alive() -> Callable[[str], list[int]]:
    """Who lives with this token among its arguments."""
    return with_token


@pytest.fixture
def token() -> Iterator[str]:
    """A word for the command lines of one test; whoever bears it at the end is killed."""
    name = uuid.uuid4().hex
    yield name
    for _ in range(20):
        left = with_token(name)
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ended]:
    """`supervise` with the arguments most tests do not care about."""

    def begin(*argv: str, **options: Any) -> Ended:
        usual: dict[str, Any] = {
            "cwd": tmp_path,
            "env": dict(os.environ),
            "mark": f"test/{tmp_path.name}.{os.getpid()}",
            "transcript": tmp_path / "transcript.log",
            "wall_s": 20.0,
            "stall_s": None,
            "grace_s": 0.3,
            "should_stop": lambda: None,
        }
        return supervise(argv, **{**usual, **options})

    return begin


@pytest.fixture
def apart(tmp_path: Path) -> Callable[..., Any]:
    """Run code with `go` (a short `supervise`) in a Python of its own; what it prints as JSON."""

    def begin(code: str, *arguments: str) -> Any:
        ended = subprocess.run(
            [sys.executable, "-c", PRELUDE + code, *arguments],
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert ended.stderr == b""
        return json.loads(ended.stdout)

    return begin
