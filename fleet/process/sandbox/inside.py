"""The first program inside the walls: puts up what is left to put up, and becomes the program.

    python -I -S inside.py SPEC PROGRAM ARGUMENT…

SPEC is JSON, both keys optional: `landlock` ({"read", "write", "connect"}: paths, and TCP ports or
null for any), `forward` ({"port", "socket"}). With `forward` a process of ours stays, listens on
that port of a loopback that is the program's alone, and passes bytes on to the socket; it ends with
the program, and as it did (128 + n for a signal, as shells say). Standard library only: it runs
under whatever Python can be seen. What keeps the program from starting is the only thing it ever
says, and ends in 127.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import stat
import struct
import sys
from typing import Any, NoReturn

FAILED = 127
SAYS = "fleet sandbox: "
PIECE = 1 << 16
MOST_AHEAD = 1 << 18  # bytes one side may be ahead of the other
RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PR_SET_NO_NEW_PRIVS = 38
READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
ON_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # what a rule on a file may say
CONNECT_TCP = 1 << 1
ABSTRACT_SOCKET, SIGNAL = 1 << 0, 1 << 1
FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}  # rights by ABI: 16 from 5 on
BENEATH, PORT = 1, 2  # kinds of rules


def fail(what: str) -> NoReturn:
    os.write(2, (SAYS + what + "\n").encode())
    os._exit(FAILED)


def main() -> NoReturn:
    spec: dict[str, Any] = json.loads(sys.argv[1])
    argv = sys.argv[2:]
    try:
        if "landlock" in spec:
            restrict(**spec["landlock"])
        listener = listen(spec["forward"]["port"]) if "forward" in spec else None
    except OSError as error:
        fail(str(error))
    if listener is None:
        become(argv)
    child = os.fork()
    if child == 0:
        listener.close()
        become(argv)
    let_go()
    os._exit(Relay(listener, spec["forward"]["socket"], child).run())


def become(argv: list[str]) -> NoReturn:
    # Our starter ignores what is meant for the program, and so far so do we.
    for number in RESET:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        fail(
            f"{argv[0]}: {error.strerror}: if it is installed where the sandbox does not look, add "
            "its folder to [sandbox] read in fleet.toml"
        )


def let_go() -> None:
    """Its pipes are the program's: they must end with it."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    listener.setblocking(False)
    return listener


def restrict(read: list[str], write: list[str], connect: list[int] | None) -> None:
    """Give up everything but this, for us and all that we start; OSError when it cannot be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise OSError(ctypes.get_errno(), "this kernel has no Landlock")
    every = (1 << FS_BITS.get(abi, 16)) - 1
    ports = CONNECT_TCP if connect is not None and abi >= 4 else 0
    scope = ABSTRACT_SOCKET | SIGNAL if abi >= 6 else 0
    fields = (every, ports, scope)[: 1 if abi < 4 else 2 if abi < 6 else 3]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _checked(libc, CREATE_RULESET, attributes, len(attributes), 0)
    for paths, rights in (([*read, f"/proc/{os.getpid()}"], READ), (write, every)):
        for path in paths:
            _allow(libc, rules, path, rights & every)
    for port in connect or () if ports else ():
        _checked(libc, ADD_RULE, rules, PORT, struct.pack("=QQ", CONNECT_TCP, port), 0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")
    _checked(libc, RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(libc: Any, rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be allowed
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        rights &= ON_FILES
    _checked(libc, ADD_RULE, rules, BENEATH, struct.pack("=Qi", rights, fd), 0)
    os.close(fd)


def _checked(libc: Any, *call: Any) -> int:
    answer: int = libc.syscall(*call)
    if answer < 0:
        raise OSError(ctypes.get_errno(), "Landlock: " + os.strerror(ctypes.get_errno()))
    return answer


class Relay:
    """Bytes between a program's connections and the proxy's socket, until the program has ended."""

    def __init__(self, listener: socket.socket, target: str, child: int) -> None:
        self._listener = listener
        self._target = target
        self._child = child
        self._selector = selectors.DefaultSelector()
        self._ends: set[End] = set()

    def run(self) -> int:
        self._selector.register(self._listener, selectors.EVENT_READ)
        exited = os.pidfd_open(self._child)
        self._selector.register(exited, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd == exited:
                    _, status = os.waitpid(self._child, 0)
                    code = os.waitstatus_to_exitcode(status)
                    return code if code >= 0 else 128 - code
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, End):
                    key.data.turn()
            self._watch()

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:
            return
        far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            far.connect(self._target)
        except OSError:  # no proxy now: the program sees a connection that breaks, and tries again
            near.close()
            far.close()
            return
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends |= pair(near, far)

    def _watch(self) -> None:
        """Tell the selector what each end waits for now; drop what is over."""
        for end in tuple(self._ends):
            events = 0 if end.over else end.wants()
            known = end.watched
            if events == known:
                pass
            elif not known:
                self._selector.register(end.socket, events, end)
            elif not events:
                self._selector.unregister(end.socket)
            else:
                self._selector.modify(end.socket, events, end)
            end.watched = events
            if end.over:
                end.socket.close()
                self._ends.discard(end)


class End:
    """One end of a connection; `ahead` is what it still has to send on."""

    def __init__(self, side: socket.socket) -> None:
        self.socket = side
        self.other: End = self
        self.ahead = bytearray()
        self.watched = 0
        self.over = False
        self._heard_all = False  # of this end
        self._told_all = False  # to this end

    def wants(self) -> int:
        reads = not self._heard_all and len(self.other.ahead) < MOST_AHEAD
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self.ahead else 0)

    def turn(self) -> None:
        if self.over:
            return
        try:
            self._send()
            if self.wants() & selectors.EVENT_READ:
                self._receive()
            self._close_when_done()
        except OSError:
            self.over = self.other.over = True

    def _receive(self) -> None:
        try:
            data = self.socket.recv(PIECE, socket.MSG_DONTWAIT)
        except BlockingIOError:  # it was woken to write
            return
        if not data:
            self._heard_all = True
        self.other.ahead += data
        self.other._send()

    def _send(self) -> None:
        while self.ahead:
            try:
                sent = self.socket.send(self.ahead, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            del self.ahead[:sent]

    def _close_when_done(self) -> None:
        for end in (self, self.other):
            if end.other._heard_all and not end.ahead and not end._told_all:
                end._told_all = True
                end.socket.shutdown(socket.SHUT_WR)
        if self._told_all and self.other._told_all:
            self.over = self.other.over = True


def pair(near: socket.socket, far: socket.socket) -> set[End]:
    one, two = End(near), End(far)
    one.other, two.other = two, one
    return {one, two}


if __name__ == "__main__":
    main()
