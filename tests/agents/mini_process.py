"""The built-in agent as a process, talking to a scripted model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MINI = Path(__file__).parents[2] / "agents" / "mini.py"


@dataclass(frozen=True)
class Ended:
    code: int
    said: list[dict[str, Any]]
    complaint: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.said if line["type"] == kind]


def start(
    url: str, cwd: Path, *options: str, prompt: str = "Do it.", **env: str
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, str(MINI), "--model", "scripted", *options],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "ANTHROPIC_BASE_URL": url, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(prompt.encode())
    process.stdin.close()
    process.stdin = None
    return process


def end(process: subprocess.Popen[bytes]) -> Ended:
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    return Ended(process.returncode, [json.loads(line) for line in out.splitlines()], err.decode())


def run(url: str, cwd: Path, *options: str, prompt: str = "Do it.", **env: str) -> Ended:
    return end(start(url, cwd, *options, prompt=prompt, **env))


def eventually(true: Callable[[], bool], within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while not true() and time.monotonic() < until:
        time.sleep(0.005)
    return true()


def gone(pid: int) -> bool:
    """Whether a process has ended, buried or not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat[stat.rindex(b")") + 2 :].split()[0] == b"Z"
