"""A program that starts what is hard to get rid of. Run by the tests, never imported.

    hostile.py TOKEN then|stay KIND...

The token only shows on the command lines, so that tests find survivors without using the mark.
With `stay` the main process sleeps, with `then` it exits once everything runs. Nothing here
lives longer than LIFE_S, whatever the code under test does.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

LIFE_S = 30.0
BEGAN = time.monotonic()
EXIT_THREAD = {"x86_64": 60, "aarch64": 93}


def main() -> None:
    token, stay, kinds = sys.argv[1], sys.argv[2] == "stay", sys.argv[3:]
    for kind in kinds:
        ready, told = os.pipe()
        if os.fork() == 0:
            os.close(ready)
            KINDS[kind](partial(os.write, told, b"."), token)
            os._exit(0)
        os.close(told)
        os.read(ready, 1)
        os.close(ready)
    os.write(1, b"ready\n")
    if stay:
        linger()


def linger() -> None:
    while time.monotonic() - BEGAN < LIFE_S:
        time.sleep(0.2)


def plain(tell: Callable[[], int], token: str) -> None:
    tell()
    linger()


def own_session(tell: Callable[[], int], token: str) -> None:
    os.setsid()
    tell()
    linger()


def daemon(tell: Callable[[], int], token: str) -> None:
    os.setsid()
    if os.fork() == 0:
        tell()
        linger()


def deaf(tell: Callable[[], int], token: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    tell()
    linger()


def respawner(tell: Callable[[], int], token: str) -> None:
    os.setsid()
    tell()
    while time.monotonic() - BEGAN < LIFE_S:
        if os.fork() == 0:
            time.sleep(0.02)
            os._exit(0)
        os.wait()


def pair(tell: Callable[[], int], token: str) -> None:
    """Two daemons, each of which starts the other anew when it dies."""
    os.setsid()
    first = True
    while time.monotonic() - BEGAN < LIFE_S:
        child = os.fork()
        if child == 0:
            parent = os.getppid()
            while os.getppid() == parent:
                time.sleep(0.002)
            continue  # the parent is dead: be the parent
        if first:
            tell()
            first = False
        os.wait()


def potato(tell: Callable[[], int], token: str) -> None:
    """Never there for long: each one starts the next and is gone. Bounded: it eats a core."""
    os.setsid()
    tell()
    while time.monotonic() - BEGAN < LIFE_S / 6:
        if os.fork() > 0:
            os._exit(0)


def cleared(tell: Callable[[], int], token: str) -> None:
    """A daemon with an environment of its own: nothing marks it.

    Tells by the exec itself, which closes the pipe.
    """
    os.setsid()
    if os.fork() == 0:
        code = f"import time; time.sleep({LIFE_S})"
        os.execve(sys.executable, [sys.executable, "-S", "-E", "-c", code, token], {})


def headless(tell: Callable[[], int], token: str) -> None:
    """The main thread has ended, which looks like a zombie; another one goes on."""
    os.setsid()
    threading.Thread(target=linger).start()
    tell()
    ctypes.CDLL(None).syscall(EXIT_THREAD[platform.machine()], 0)


KINDS = {
    "plain": plain,
    "own_session": own_session,
    "daemon": daemon,
    "deaf": deaf,
    "respawner": respawner,
    "pair": pair,
    "potato": potato,
    "cleared": cleared,
    "headless": headless,
}

if __name__ == "__main__":
    main()
