from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial

import pytest

from fleet.process import cgroup
from tests.process.test_supervise import Run, after, hostile

pytestmark = pytest.mark.skipif(cgroup.base() is None, reason="no control group we may write here")


@pytest.fixture
def mark() -> Iterator[str]:
    name = f"{uuid.uuid4().hex[:12]}/a.1"
    yield name
    cgroup.end_marked(name)


def started(mark: str, code: str = "import time; time.sleep(60)") -> subprocess.Popen[bytes]:
    group = cgroup.make(mark)
    assert group is not None
    return subprocess.Popen(
        [sys.executable, "-S", "-c", code],
        env={},
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=partial(cgroup.enter, group),
    )


def groups(mark: str) -> list[str]:
    base = cgroup.base()
    assert base is not None
    start = f"fleet-{mark.replace('/', '-')}@"
    return [entry.name for entry in base.iterdir() if entry.name.startswith(start)]


def test_who_left_session_environment_and_parent_is_still_in_its_group(mark: str) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "os._exit(0)\n"
    )
    with started(mark, code) as child:
        assert child.stdout is not None
        daemon = int(child.stdout.readline())
        child.wait()
        pidfd = os.pidfd_open(daemon)
        try:
            assert cgroup.end_marked(mark) == 1
            assert groups(mark) == []
        finally:
            os.close(pidfd)


def test_ending_one_attempt_leaves_those_with_a_like_name_alone(mark: str) -> None:
    other = f"{mark}.1"  # ids may have dots: "a.1", epoch 1, beside "a", epoch 1
    with started(mark) as one, started(other) as two:
        cgroup.end_marked(mark)
        one.wait(10)
        assert two.poll() is None
        cgroup.end_marked(other)
        two.wait(10)


def test_ending_what_is_not_there_is_nothing() -> None:
    assert cgroup.end_marked(f"{uuid.uuid4().hex[:12]}/none.1") == 0


def test_a_program_and_its_stop_leave_no_group_behind(run: Run, mark: str, token: str) -> None:
    run(*hostile(token, "stay", "daemon"), mark=mark, should_stop=after(0.3))
    assert groups(mark) == []


def test_a_program_that_cannot_start_leaves_no_group_behind(run: Run, mark: str) -> None:
    run("/no/such/program", mark=mark)
    assert groups(mark) == []
