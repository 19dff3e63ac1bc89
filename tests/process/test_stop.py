from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.process.stop import StopFlag

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """A Python of its own with an entered StopFlag; it has said "ready" when this returns."""
    children: list[subprocess.Popen[str]] = []

    def begin(code: str) -> subprocess.Popen[str]:
        lines = "\n".join(f"    {line}" for line in code.splitlines())
        whole = (
            "import os, signal, time\n"
            "from fleet.process.stop import StopFlag\n"
            f"with StopFlag() as stop:\n    print('ready', flush=True)\n{lines}\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", whole],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        children.append(child)
        assert said(child) == "ready"
        return child

    yield begin
    for child in children:
        child.kill()
        with child:
            pass


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


STEPS = """
while True:
    woken = stop.wait(30)
    print(woken, stop.draining, stop.killing, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_drains_two_kill_three_leave(start: Start, number: signal.Signals) -> None:
    child = start(STEPS)
    child.send_signal(number)
    assert said(child) == "True True False"
    child.send_signal(number)
    assert said(child) == "True True True"
    child.send_signal(number)
    assert child.wait(timeout=5) == 130


def test_a_signal_wakes_the_wait_at_once(start: Start) -> None:
    child = start(STEPS)
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert said(child) == "True True False"
    assert time.monotonic() - began < 2.0


def test_a_signal_before_the_wait_is_not_slept_through(start: Start) -> None:
    child = start("os.kill(os.getpid(), signal.SIGTERM)\nprint(stop.wait(30), stop.wait(0.01))")
    assert said(child) == "True False"
    assert child.wait(timeout=5) == 0


def test_no_signal_is_ever_slept_through(start: Start) -> None:
    """Signals at random instants around the moment of falling asleep."""
    code = (
        "for turn in range(300):\n"
        "    stop._level = stop._told = 0\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    signal.signal(signal.SIGALRM, stop._on_signal)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.00001 + turn * 0.0000005)\n"
        "    began = time.monotonic()\n"
        "    while not stop.wait(5): pass\n"
        "    assert time.monotonic() - began < 3, turn\n"
        "print('never')"
    )
    assert said(start(code)) == "never"


def test_a_draining_process_can_pace_itself(start: Start) -> None:
    code = (
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "stop.wait(0)\n"
        "began = time.monotonic()\n"
        "woken = stop.wait(0.3)\n"
        "print(woken, time.monotonic() - began >= 0.29)"
    )
    assert said(start(code)) == "False True"


def test_code_can_ask_too_and_never_take_back() -> None:
    with StopFlag() as stop:
        assert (stop.draining, stop.wait(0)) == (False, False)
        stop.notify(2)
        stop.notify(1)
        assert (stop.draining, stop.killing) == (True, True)
        assert stop.wait(10)
    assert stop.killing


def test_another_thread_may_notify_a_sleeper() -> None:
    with StopFlag() as stop:
        timer = threading.Timer(0.1, stop.notify, [1])
        timer.start()
        began = time.monotonic()
        assert stop.wait(10)
        assert time.monotonic() - began < 5
        timer.join()


def test_leaving_restores_what_was_there() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with StopFlag():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    assert signal.set_wakeup_fd(-1) == -1


def test_outside_its_context_it_only_waits() -> None:
    stop = StopFlag()
    began = time.monotonic()
    assert not stop.wait(0.1)
    assert time.monotonic() - began >= 0.09
    stop.notify(1)
    assert stop.wait(10)


def test_nohup_stays_in_force() -> None:
    code = (
        "import os, signal\n"
        "from fleet.process.stop import StopFlag\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with StopFlag() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print(stop.wait(0.05), stop.draining)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False False\n"
