"""A process and all it starts, seen at each system call by which it changes files, and struck.

What `strace -f -e inject` does, but with one count over all processes, so that every call of every
git is a point of its own, and from a moment that the traced code chooses: a seccomp filter, which
children inherit, stops nothing but the calls named here. Linux on x86-64 only, and where a process
may trace its child: `unavailable` says why not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType

# Number, and which argument is a path (p), its folder (d, before a path) or a descriptor (f).
CALLS = {
    1: ("write", "f"), 18: ("pwrite64", "f"), 20: ("writev", "f"), 296: ("pwritev", "f"),
    2: ("open", "p"), 257: ("openat", "dp"), 85: ("creat", "p"),
    40: ("sendfile", "f"), 326: ("copy_file_range", "--f"),
    74: ("fsync", "f"), 75: ("fdatasync", "f"), 277: ("sync_file_range", "f"), 73: ("flock", "f"),
    76: ("truncate", "p"), 77: ("ftruncate", "f"), 285: ("fallocate", "f"),
    82: ("rename", "p"), 264: ("renameat", "dp"), 316: ("renameat2", "dp"),
    86: ("link", "p"), 265: ("linkat", "dp"), 88: ("symlink", "-p"), 266: ("symlinkat", "-dp"),
    87: ("unlink", "p"), 263: ("unlinkat", "dp"), 84: ("rmdir", "p"),
    83: ("mkdir", "p"), 258: ("mkdirat", "dp"),
    90: ("chmod", "p"), 91: ("fchmod", "f"), 268: ("fchmodat", "dp"), 280: ("utimensat", "dp"),
    59: ("execve", "p"),
}  # fmt: skip
OPENS = {"open": 1, "openat": 2}  # which argument has the flags
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
HERE = -100  # AT_FDCWD

SEIZE, CONT, LISTEN, SET_OPTIONS, GET_CALL, POKE_USER = 0x4206, 7, 0x4208, 0x4200, 0x420E, 6
# Forks of all kinds are followed, filtered calls stop, and all dies with the tracer.
OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000
EVENT_SECCOMP, EVENT_STOP = 7, 128
WALL = 0x40000000
ORIG_RAX, RAX = 15 * 8, 10 * 8
NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, TRACE = 0x7FFF0000, 0x7FF00000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Strike(StrEnum):
    """What happens at a point."""

    CALLER = "kill"  # SIGKILL for the process that makes the call
    FIRST = "kill-first"  # SIGKILL for the traced program itself, its child goes on
    EIO = "EIO"
    ENOSPC = "ENOSPC"


ERRNO = {Strike.EIO: 5, Strike.ENOSPC: 28}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that changes something beneath the folder that is watched."""

    name: str
    path: str
    first: bool  # by the traced program itself
    program: str


@dataclass(slots=True, kw_only=True)
class Traced:
    """How it went."""

    calls: list[Call] = field(default_factory=list)
    struck: Call | None = None
    code: int = 0  # of the traced program; negative for a signal
    hung: bool = False


def unavailable() -> str:
    """Why nothing can be traced here; "" if it can."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return "the numbers of the system calls are known for Linux on x86-64 only"
    try:
        seen = trace(lambda: 0, beneath="/", strike=None, at=0, timeout_s=10.0)
    except OSError as error:
        return f"a process may not trace its child here: {error}"
    return "" if seen.code == 0 else "a process may not filter its own system calls here"


def trace(
    body: Callable[[], int], *, beneath: str, strike: Strike | None, at: int, timeout_s: float
) -> Traced:
    """Run `body` in a child and strike at the `at`th call, counted from 1, between its marks: those
    are attempts to make a folder called `.mark-begin` or `.mark-end`. Without marks, all counts."""
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        _child(body, ready)
    os.close(ready)
    try:
        _ptrace(SEIZE, pid, 0, OPTIONS)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(go)
    return _Tracer(first=pid, beneath=beneath, strike=strike, at=at).run(timeout_s)


def _child(body: Callable[[], int], ready: int) -> None:
    code = 99
    try:
        os.read(ready, 1)  # until we are traced
        _filter()
        code = body()
    finally:
        os._exit(code)


def _filter() -> None:
    """From now on the calls above stop for the tracer, in children too."""
    numbers = list(CALLS)
    program = [struct.pack("HBBI", LOAD, 0, 0, 0)]
    for number, call in enumerate(numbers):
        program.append(struct.pack("HBBI", JUMP_EQUAL, len(numbers) - number, 0, call))
    program.append(struct.pack("HBBI", RETURN, 0, 0, ALLOW))
    program.append(struct.pack("HBBI", RETURN, 0, 0, TRACE))
    code = b"".join(program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, header):
        raise OSError(ctypes.get_errno(), "seccomp")


def _ptrace(request: int, pid: int, address: int, data: int) -> None:
    if libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclass(slots=True, kw_only=True)
class _Tracer:
    first: int
    beneath: str
    strike: Strike | None
    at: int
    counting: bool = True
    seen: Traced = field(default_factory=Traced)

    def run(self, timeout_s: float) -> Traced:
        """Until the last of them has ended, or time is up."""
        alive, until = {self.first}, time.monotonic() + timeout_s
        while alive:
            try:
                pid, status = os.waitpid(-1, WALL | os.WNOHANG)
                if pid == 0:
                    if time.monotonic() > until:
                        self._give_up(alive)
                    pid, status = self._await(until)
                    if pid == 0:
                        continue
            except ChildProcessError:
                break
            if os.WIFSTOPPED(status):
                alive.add(pid)
                self._stopped(pid, status)
            else:
                alive.discard(pid)
                if pid == self.first:
                    self.seen.code = os.waitstatus_to_exitcode(status)
        return self.seen

    def _await(self, until: float) -> tuple[int, int]:
        before = signal.signal(signal.SIGALRM, _time_is_up)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, until - time.monotonic()))
        try:
            try:
                return os.waitpid(-1, WALL)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except TimeoutError:
            return 0, 0
        finally:
            signal.signal(signal.SIGALRM, before)

    def _give_up(self, alive: set[int]) -> None:
        self.seen.hung = True
        for pid in alive:
            _kill(pid)

    def _stopped(self, pid: int, status: int) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        request, data = CONT, 0
        if event == EVENT_SECCOMP:
            self._called(pid)
        elif event == EVENT_STOP and number != signal.SIGTRAP:
            request = LISTEN  # a stop of the whole process: it stays stopped
        elif event == 0:
            data = number
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            _ptrace(request, pid, 0, data)

    def _called(self, pid: int) -> None:
        call = self._look(pid)
        if call is None:
            return
        mark = call.path.rpartition("/")[2]
        if call.name.startswith("mkdir") and mark in (".mark-begin", ".mark-end"):
            if mark == ".mark-begin":
                self.seen.calls.clear()
            self.counting = mark == ".mark-begin"
            return
        if not self.counting or self.seen.struck is not None:
            return
        self.seen.calls.append(call)
        if self.strike is not None and len(self.seen.calls) == self.at:
            self.seen.struck = call
            self._hit(pid)

    def _hit(self, pid: int) -> None:
        match self.strike:
            case Strike.CALLER:
                _kill(pid)
            case Strike.FIRST:
                _kill(self.first)
            case Strike.EIO | Strike.ENOSPC:
                _ptrace(POKE_USER, pid, ORIG_RAX, -1)
                _ptrace(POKE_USER, pid, RAX, -ERRNO[self.strike])
            case None:
                pass

    def _look(self, pid: int) -> Call | None:
        """The call a process stands before, if it changes anything we watch."""
        buffer = ctypes.create_string_buffer(128)
        if libc.ptrace(GET_CALL, pid, 128, ctypes.addressof(buffer)) < 0:
            return None
        number, *args = struct.unpack_from("7Q", buffer.raw, 24)
        name, shape = CALLS[number]
        if name in OPENS and not args[OPENS[name]] & WRITING:
            return None
        try:
            path = _path(pid, shape, args)
            if name == "execve" and not Path(path).exists():
                return None  # one folder of PATH after the other is tried
            if name == "execve" or path == self.beneath or path.startswith(f"{self.beneath}/"):
                program = Path(f"/proc/{pid}/comm").read_text().strip()
                return Call(name=name, path=path, first=pid == self.first, program=program)
        except OSError:
            pass  # not a file, or killed meanwhile
        return None


def _path(pid: int, shape: str, args: list[int]) -> str:
    folder = f"/proc/{pid}/cwd"
    for kind, value in zip(shape, args, strict=False):
        signed = ctypes.c_int(value & 0xFFFFFFFF).value
        match kind:
            case "f":
                return str(Path(f"/proc/{pid}/fd/{signed}").readlink())
            case "d" if signed != HERE:
                folder = f"/proc/{pid}/fd/{signed}"
            case "p":
                name = _text(pid, value)
                return name if name.startswith("/") else f"{Path(folder).readlink()}/{name}"
            case _:
                pass
    return ""


def _text(pid: int, address: int) -> str:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        memory.seek(address)
        data = memory.read(256)
        if b"\0" not in data:
            memory.seek(address)
            data = memory.read(4096)
    return os.fsdecode(data.partition(b"\0")[0])


def _time_is_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
