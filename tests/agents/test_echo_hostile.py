"""What the echo agent does when it is told to misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.agents.mini_process import eventually

ECHO = Path(__file__).parents[2] / "agents" / "echo.py"


@contextmanager
def echoing(cwd: Path, prompt: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, str(ECHO)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(prompt.encode())
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def ticks(process: subprocess.Popen[bytes]) -> int:
    """Processor time it has used, user and system."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def test_it_hangs_at_rest(tmp_path: Path) -> None:
    with echoing(tmp_path, "@hang\n") as process:
        assert line(process) == b"hanging\n"
        before = ticks(process)
        time.sleep(0.2)
        assert process.poll() is None
        assert ticks(process) <= before + 1
        process.terminate()
        assert process.wait(5) == -signal.SIGTERM


def test_it_spins_at_work(tmp_path: Path) -> None:
    with echoing(tmp_path, "@spin\n") as process:
        assert line(process) == b"spinning\n"
        before = ticks(process)
        assert eventually(lambda: ticks(process) > before + 5)


def test_it_can_be_deaf_to_being_asked_to_stop(tmp_path: Path) -> None:
    with echoing(tmp_path, "@ignore-term\n@hang\n") as process:
        assert (line(process), line(process)) == (b"ignoring SIGTERM\n", b"hanging\n")
        process.terminate()
        time.sleep(0.2)
        assert process.poll() is None


def test_it_kills_itself(tmp_path: Path) -> None:
    with echoing(tmp_path, "@kill\n") as process:
        assert process.wait(5) == -signal.SIGKILL


def test_it_kills_who_started_it(tmp_path: Path) -> None:
    start = "import subprocess, sys; subprocess.run(sys.argv[1:], input=b'@kill-worker\\n')"
    worker = subprocess.run(
        [sys.executable, "-c", start, sys.executable, str(ECHO)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        timeout=10,
        check=False,
    )
    assert worker.returncode == -signal.SIGKILL


def test_its_daemon_outlives_it_and_commits(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    mark = f"FLEET_ATTEMPT={tmp_path}"
    with echoing(tmp_path, "@daemon 1\n", FLEET_ATTEMPT=str(tmp_path)) as process:
        assert process.wait(5) == 0
    (daemon,) = [pid for pid in all_pids() if carries(pid, mark)]
    assert os.getsid(daemon) not in (daemon, os.getsid(0))
    assert subjects(tmp_path) == b""
    # Not by the daemon's end: in the middle of an exec its environment cannot be read.
    assert eventually(lambda: subjects(tmp_path) == b"By a daemon\n")
    assert eventually(lambda: not any(carries(pid, mark) for pid in all_pids()))


def subjects(repository: Path) -> bytes:
    """Of its commits; none as long as there is no commit."""
    return subprocess.run(
        ["git", "log", "--format=%s"], cwd=repository, capture_output=True, check=False
    ).stdout


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def carries(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
