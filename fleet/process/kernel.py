"""What we ask of Linux itself. Where it cannot, the answer says so and nothing is raised."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import threading
from collections.abc import Callable, Collection, Mapping

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> bool:
    """Set one attribute of the calling process; whether the kernel took it."""
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def hide() -> bool:
    """Close our memory and `/proc/<pid>/environ` to other processes of our user (not to root), and
    leave no core behind.

    Children are as usual again once they have called exec, but for the core.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    return prctl(PR_SET_DUMPABLE, 0)


def forget(names: Collection[str]) -> bool:
    """Take variables out of our environment, and blank them where `/proc` shows it as it was at
    our start: `os.environ` alone would leave them there. False where it cannot be blanked.

    Before other threads start: the C library reads the environment without a lock.
    """
    wanted = {os.fsencode(name) for name in names}
    try:
        entries = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    except (OSError, ValueError):
        return False
    else:
        number = 0
        while entries and (address := entries[number]):
            name, _, value = ctypes.string_at(address).partition(b"=")
            if name in wanted:
                ctypes.memset(address + len(name) + 1, 0, len(value))
            number += 1
        return True
    finally:
        for variable in names:
            os.environ.pop(variable, None)


def give_back_memory() -> bool:
    """Return to the system what is free in our heap: the C library keeps the holes. It takes some
    milliseconds, for all threads. False where there is no such call."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False


def open_pidfd(pid: int) -> int | None:
    """A descriptor that means this process and never a later one with its pid.

    None where the kernel has no such thing or we are out of descriptors; ProcessLookupError
    when there is no such process.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None


def await_exit(pidfd: int | None, timeout_s: float) -> bool:
    """Whether the process has ended, waiting at most this long. Without a pidfd, only a pause."""
    if pidfd is None:
        pause(min(timeout_s, 0.005))
        return False
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def tied_to_us(
    rlimits: Mapping[int, int],
    *,
    ignored: Collection[signal.Signals] = (),
    first: Callable[[], object] | None = None,
) -> Callable[[], None]:
    """What a child does between fork and exec, to die with us and to keep to its limits. It
    ignores the signals that are meant for the program it only wraps. `first` must not raise.

    Python in a forked child is safe only if no other thread of the parent can hold a lock (of
    the allocator, of an import) at the fork: workers and landers have one thread. That thread is
    also the one whose end PR_SET_PDEATHSIG waits for, so it must live as long as the child.
    """
    parent = os.getpid()
    limits = [(kind, _allowed(kind, value)) for kind, value in rlimits.items()]

    def in_the_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it had died before we asked
        if first is not None:
            first()
        for kind, value in limits:
            resource.setrlimit(kind, (value, value))
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    return in_the_child


def _allowed(kind: int, value: int) -> int:
    _, most = resource.getrlimit(kind)
    return value if most == resource.RLIM_INFINITY else min(value, most)
