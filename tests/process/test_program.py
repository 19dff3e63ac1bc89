from __future__ import annotations

import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet.process.identity import start_time
from fleet.process.supervise import Ended
from fleet.process.transcript import read
from fleet.process.tree import ATTEMPT_MARK

ROOT = Path(__file__).parents[2]
HOSTILE = Path(__file__).with_name("hostile.py")
Run = Callable[..., Ended]
Apart = Callable[..., Any]
Alive = Callable[[str], list[int]]


def test_the_program_gets_our_mark_and_only_the_environment_given(run: Run) -> None:
    env = {"PATH": os.environ["PATH"], "GIVEN": "yes", ATTEMPT_MARK: "an outer one"}
    ended = run("sh", "-c", f"echo $GIVEN ${ATTEMPT_MARK} ${{HOME-none}}", env=env, mark="a/t.1")
    assert ended.last_line == "yes a/t.1 none"


def test_a_long_prompt_reaches_a_program_that_talks_meanwhile(run: Run) -> None:
    prompt = os.urandom(500_000).hex().encode()
    ended = run("cat", stdin=prompt)
    assert (ended.code, ended.output_bytes) == (0, len(prompt))


def test_a_prompt_nobody_reads_blocks_nothing(run: Run) -> None:
    ended = run("sh", "-c", "sleep 0.2; echo done", stdin=b"x" * 1_000_000)
    assert (ended.code, ended.last_line) == (0, "done")
    ended = run("sh", "-c", "exec 0<&-; sleep 0.2; echo closed", stdin=b"x" * 1_000_000)
    assert (ended.code, ended.last_line) == (0, "closed")


def test_without_a_prompt_standard_input_is_at_its_end(run: Run) -> None:
    assert run("sh", "-c", "cat; echo end").last_line == "end"


def test_the_last_words_of_the_killed_are_kept(run: Run) -> None:
    writer = "(trap '' HUP; sleep 0.1; echo later) & echo first"
    ended = run("sh", "-c", writer)
    assert ended.last_line == "later"


def test_a_subreaper_also_ends_what_has_cleared_its_environment(
    apart: Apart, alive: Alive, token: str
) -> None:
    code = (
        "become_subreaper()\n"
        "mine = subprocess.Popen(['sleep', '60'])\n"
        "argv = [sys.executable, '-S', *sys.argv[1:]]\n"
        "ended = go(argv)\n"
        "left = descendants(os.getpid()) == [mine.pid]\n"
        "mine.kill()\n"
        "mine.wait()\n"
        "print(json.dumps({'killed': ended.killed, 'code': ended.code, 'only_mine': left}))\n"
    )
    said = apart(code, str(HOSTILE), token, "then", "cleared", "daemon", "potato")
    assert (said["code"], said["only_mine"]) == (0, True)
    assert said["killed"] >= 3
    assert alive(token) == []


def test_daemons_that_end_early_do_not_stay_as_zombies(apart: Apart) -> None:
    code = (
        "become_subreaper()\n"
        "def zombies():\n"
        "    stats = [p.read_text() for p in Path('/proc').glob('[0-9]*/stat')]\n"
        "    mine = [s.rsplit(')', 1)[1].split() for s in stats]\n"
        "    return sum(s[0] == 'Z' and s[1] == str(os.getpid()) for s in mine)\n"
        "seen = []\n"
        "go(['sh', '-c', 'for i in $(seq 40); do (setsid sh -c : &) ; done; sleep 1'],\n"
        "   should_stop=lambda: seen.append(zombies()))\n"
        "print(json.dumps(seen))\n"
    )
    seen = apart(code)
    assert len(seen) >= 2
    assert seen[-1] < 10  # one may just have ended


def test_a_flood_costs_neither_memory_nor_disk(apart: Apart, tmp_path: Path) -> None:
    code = (
        "def peak():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(status.split('VmHWM:')[1].split()[0])\n"
        "go(['true'])\n"
        "before = peak()\n"
        "ended = go(['sh', '-c', 'yes | head -c 300000000'])\n"
        "print(json.dumps({'grown_kb': peak() - before, 'bytes': ended.output_bytes}))\n"
    )
    said = apart(code)
    assert said["bytes"] == 300_000_000
    assert said["grown_kb"] < 50_000
    assert (tmp_path / "transcript.log").stat().st_size < 9_000_000
    assert list(tmp_path.iterdir()) == [tmp_path / "transcript.log"]


def test_the_output_can_be_followed_while_it_runs(run: Run, tmp_path: Path) -> None:
    heard: list[bytes] = []
    on_disk: list[bytes] = []

    def listen(data: bytes) -> None:
        heard.append(data)
        on_disk.append(read(tmp_path / "transcript.log"))

    run("sh", "-c", "echo one; sleep 0.2; echo two", on_output=listen)
    assert heard == [b"one\n", b"two\n"]
    assert on_disk == [b"one\n", b"one\ntwo\n"]


def test_limits_apply_to_the_program(run: Run) -> None:
    ended = run("sh", "-c", "ulimit -n", rlimits={resource.RLIMIT_NOFILE: 77})
    assert ended.last_line == "77"


def test_the_last_line_is_fit_to_be_shown(run: Run) -> None:
    ended = run("printf", r"old\n10%%\r\033[31m20%%\033[0m done\a\r\n\n")
    assert ended.last_line == "20% done"


def test_no_descriptor_is_left_behind(run: Run) -> None:
    run("true", stdin=b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run("sh", "-c", "sleep 0.01 & echo hi", stdin=b"x" * 100_000)
    run("no-such-program-anywhere", stdin=b"x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_when_the_supervisor_is_killed_its_program_dies_with_it(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from fleet.process.supervise import supervise\n"
        "supervise(['sh', '-c', 'echo $$ > pid; exec sleep 60'], cwd=Path.cwd(),\n"
        "    env=dict(os.environ), mark='t/pdeath', transcript=Path('log'), wall_s=60.0,\n"
        "    stall_s=None, should_stop=lambda: None)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env) as supervisor:
        note = tmp_path / "pid"
        until = time.monotonic() + 10
        while not (note.exists() and note.read_text().endswith("\n")):
            assert time.monotonic() < until
            time.sleep(0.02)
        pid = int(note.read_text())
        pidfd = os.pidfd_open(pid)
        try:
            assert start_time(pid) is not None
            assert select.select([pidfd], [], [], 0.0)[0] == []
            supervisor.kill()
            assert select.select([pidfd], [], [], 5.0)[0] == [pidfd]
        finally:
            os.close(pidfd)
