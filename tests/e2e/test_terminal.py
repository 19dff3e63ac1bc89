"""What becomes of a run when the terminal it was started from, or its reader, goes away."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e.conftest import CONFIG, FLEET, Repository, writes
from tests.e2e.ledger import is_in, states, told
from tests.e2e.test_supervision import marked_processes, until, worker_pids

# A terminal: a pseudo-terminal's master end and the program that reads it. Its death is the
# closing of the window, at which the kernel sends SIGHUP to the program within.
TERMINAL = """
import os, pty, sys
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    sys.stdout.buffer.write(os.read(master, 4096))
    sys.stdout.flush()
"""


def test_when_the_terminal_is_closed_what_is_in_hand_is_finished(repository: Repository) -> None:
    repository.write("fleet.toml", CONFIG.format(agents=1, commands='["python3 check.py"]'))
    repository.tasks(
        {"id": "a", "prompt": "@sleep 3\n" + writes("a.txt", "a")},
        {"id": "b", "prompt": writes("b.txt", "b")},
    )
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL, *FLEET, "run"],
        cwd=repository.path,
        env=repository.env,
        stdout=subprocess.DEVNULL,
    ) as terminal:
        until(is_in(repository, "a", "running"))
        terminal.kill()
    until(is_in(repository, "a", "merged"), seconds=60.0)
    until(lambda: not worker_pids(repository))
    assert marked_processes(repository) == []
    assert states(repository) == {"a": "merged", "b": "pending"}
    until(lambda: told(repository)[-1] == "run-ended")  # in order, and unseen


@pytest.mark.long
def test_a_reader_that_goes_away_does_not_end_the_run(repository: Repository) -> None:
    repository.tasks(
        {"id": "a", "prompt": "@sleep 1\n" + writes("a.txt", "a")},
        {"id": "b", "depends_on": ["a"], "prompt": writes("b.txt", "b")},
    )
    with subprocess.Popen(
        [*FLEET, "run"],
        cwd=repository.path,
        env=repository.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline()
        run.stdout.close()
        said = run.stderr.read()
        assert run.wait(90) == 0, said
    assert said == ""
    assert states(repository) == {"a": "merged", "b": "merged"}
