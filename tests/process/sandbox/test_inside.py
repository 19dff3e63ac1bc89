"""The first program inside, run without walls: what it passes on, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.process.sandbox.inside import FAILED, SAYS
from fleet.process.sandbox.sandbox import FIRST

MUCH = 3_000_000


class Echo(socketserver.BaseRequestHandler):
    """Sends everything back once it has heard all of it."""

    def handle(self) -> None:
        heard = bytearray()
        while data := self.request.recv(1 << 16):
            heard += data
        self.request.sendall(heard)


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "proxy.sock"
    with Server(str(path), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def inside(code: str, *, door: Path | None = None, port: int = 0) -> subprocess.Popen[bytes]:
    spec = {"forward": {"port": port, "socket": str(door)}} if door else {}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(FIRST), json.dumps(spec), sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def ended(child: subprocess.Popen[bytes], told: bytes = b"") -> tuple[int, bytes]:
    said, _ = child.communicate(told, timeout=60)
    return child.returncode, said


ASK = """
import socket, sys
def ask(data):
    with socket.create_connection(("127.0.0.1", {port})) as side:
        side.sendall(data)
        side.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := side.recv(1 << 16):
            heard += piece
        return heard
"""


def test_much_goes_there_and_back_whole_on_many_connections_at_once(door: Path) -> None:
    port = free_port()
    code = ASK.format(port=port) + (
        "from concurrent.futures import ThreadPoolExecutor\n"
        f"sent = [bytes([n]) * ({MUCH} + n) for n in range(6)]\n"
        "with ThreadPoolExecutor(6) as pool:\n"
        "    assert list(pool.map(ask, sent)) == sent\n"
        "print('whole')\n"
    )
    assert ended(inside(code, door=door, port=port)) == (0, b"whole\n")


def test_without_a_proxy_a_connection_breaks_and_with_the_next_proxy_it_works(
    tmp_path: Path,
) -> None:
    port, door = free_port(), tmp_path / "proxy.sock"
    code = ASK.format(port=port) + (
        "try:\n    got = ask(b'early')\nexcept OSError:\n    got = b''\n"
        "print(got, flush=True)\n"
        "sys.stdin.readline()\n"
        "print(ask(b'late'), flush=True)\n"
    )
    child = inside(code, door=door, port=port)
    assert child.stdout is not None
    assert child.stdout.readline() == b"b''\n"
    with Server(str(door), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert ended(child, b"\n") == (0, b"b'late'\n")
        server.shutdown()


@pytest.mark.parametrize("forwards", [True, False])
def test_it_ends_as_the_program_does(door: Path, forwards: bool) -> None:
    through = door if forwards else None
    assert ended(inside("raise SystemExit(7)", door=through, port=free_port())) == (7, b"")
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    code, _ = ended(inside(killed, door=through, port=free_port()))
    assert code == (128 + signal.SIGKILL if forwards else -signal.SIGKILL)


def test_the_programs_input_and_output_are_its_alone(door: Path) -> None:
    code = (
        "import os, sys, time\n"
        "print(len(sys.stdin.read()), flush=True)\n"
        "os.close(1); os.close(2)\n"
        "time.sleep(1)\n"
    )
    with inside(code, door=door, port=free_port()) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdin.write(b"x" * 1000)
        child.stdin.close()
        assert child.stdout.read() == b"1000\n"
        assert child.poll() is None  # the pipe was closed before the program ended


def test_signals_it_was_started_to_ignore_reach_the_program(door: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        child = inside(code, door=door, port=free_port())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    os.killpg(child.pid, signal.SIGTERM)
    assert ended(child) == (5, b"")


def test_what_cannot_be_started_is_said_in_one_line(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-S", str(FIRST), "{}", "no-such-program"]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert done.returncode == FAILED
    assert done.stderr.decode().startswith(f"{SAYS}no-such-program: No such file or directory")
    assert done.stderr.count(b"\n") == 1
