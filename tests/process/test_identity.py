from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from fleet.process.identity import boot_id, is_alive, myself, start_time


def test_the_start_time_is_that_of_the_process() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        started = start_time(child.pid)
        now = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        assert started is not None
        assert 0 <= now - started < 10 * os.sysconf("SC_CLK_TCK")
        child.kill()
    assert start_time(child.pid) is None


def test_a_name_full_of_brackets_does_not_confuse_it() -> None:
    code = "open('/proc/self/comm', 'w').write('a) Z (b '); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 5
        while Path(f"/proc/{child.pid}/comm").read_text() != "a) Z (b \n":
            assert time.monotonic() < until
            time.sleep(0.01)
        started = start_time(child.pid)
        mine = start_time(os.getpid())
        assert started is not None
        assert mine is not None
        assert started >= mine
        child.kill()


def test_i_am_alive_and_an_older_process_with_my_pid_is_not() -> None:
    me = myself("agent-1")
    assert (me.pid, me.worker, me.boot_id) == (os.getpid(), "agent-1", boot_id())
    assert is_alive(boot=me.boot_id, pid=me.pid, started=me.started)
    assert not is_alive(boot=me.boot_id, pid=me.pid, started=me.started - 1)
    assert not is_alive(boot="another boot", pid=me.pid, started=me.started)
