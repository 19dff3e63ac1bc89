from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.process.sandbox.view import Allowed, Forward, Rung, shown
from fleet.process.supervise import End
from tests.process.sandbox.conftest import RUNGS, Build, World


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            self.wfile.write(line)


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def tcp() -> Iterator[int]:
    """The port of somebody else's server on this machine."""
    with TcpServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Path]:
    """The proxy's socket, in a folder of its own."""
    folder = tmp_path / "doors"
    folder.mkdir()
    with UnixServer(str(folder / "proxy.sock"), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder / "proxy.sock"
        server.shutdown()


def at_home(world: World, name: str) -> str:
    place = world.sandbox.place(world.view)
    return str({"work": place.work, "home": place.home, "tmp": place.tmp}[name] / "new")


@pytest.mark.parametrize("rung", RUNGS)
def test_a_program_writes_its_own_and_sees_nothing_else(build: Build, rung: Rung) -> None:
    world = build(rung)
    out = world.root / "out"
    said = world.probe(
        {
            "its workspace": ["write", at_home(world, "work")],
            "its home": ["write", at_home(world, "home")],
            "its temporary files": ["write", at_home(world, "tmp")],
            "system libraries": ["list", "/usr"],
            "a key of fleet": ["read", world.root / "state" / "secret"],
            "another workspace": ["read", world.root / "other" / "work.py"],
            "a file outside": ["write", out],
            "a link to the outside": ["link", out, at_home(world, "work") + "-link"],
            "the home of whoever runs fleet": ["list", Path.home()],
            "the system": ["write", "/usr/new"],
            "its settings": ["write", "/etc/new"],
        }
    )
    allowed = {name for name, why in said.items() if not why}
    # Of a home the first rung shows the installations in it, as empty folders around them.
    assert allowed - {"the home of whoever runs fleet"} == {
        "its workspace",
        "its home",
        "its temporary files",
        "system libraries",
    }
    assert not out.exists()
    for name in ("work", "home", "tmp"):
        assert (world.root / "attempt" / name / "new").read_text() == "written"


@pytest.mark.parametrize("rung", RUNGS)
def test_other_processes_can_be_neither_read_nor_signalled(build: Build, rung: Rung) -> None:
    world = build(rung)
    env = {**os.environ, "CANARY": "a key"}
    with subprocess.Popen(["sleep", "60"], env=env) as other:
        try:
            said = world.probe(
                {
                    "environment": ["read", f"/proc/{other.pid}/environ"],
                    "memory": ["read", f"/proc/{other.pid}/mem"],
                    "life": ["kill", other.pid],
                    "our environment": ["read", f"/proc/{os.getpid()}/environ"],
                    "our life": ["signal", os.getpid()],
                }
            )
            assert all(said.values()), said
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.parametrize("rung", RUNGS)
def test_no_port_of_this_machine_answers_but_the_proxys(
    build: Build, rung: Rung, tcp: int, door: Path
) -> None:
    world = build(rung)
    with TcpServer(("127.0.0.1", 0), Echo) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        port = proxy.server_address[1]
        forward = Forward(port=port, folder=door.parent, socket=door.name)
        asked = {"the proxy": ["tcp", port], "another server": ["tcp", tcp]}
        said = world.probe(asked, forward=forward)
        without = world.probe(asked)
        proxy.shutdown()
    assert said["the proxy"] == ""
    assert said["another server"] != ""
    assert all(without.values())  # who needs no model has no way to it


@pytest.mark.parametrize("rung", RUNGS)
def test_an_open_network_is_open(build: Build, rung: Rung, tcp: int) -> None:
    said = build(rung).probe({"a server": ["tcp", tcp]}, allowed=Allowed(network=True))
    assert said == {"a server": ""}


@pytest.mark.parametrize("rung", RUNGS)
def test_what_a_user_allows_is_there_where_it_lies(build: Build, rung: Rung) -> None:
    world = build(rung)
    for name in ("readable", "writable"):
        (world.root / name).mkdir()
        (world.root / name / "file").write_text("there")
    allowed = Allowed(
        binds=(shown(world.root / "readable"), shown(world.root / "writable", writable=True))
    )
    said = world.probe(
        {
            "read": ["read", world.root / "readable" / "file"],
            "not written": ["write", world.root / "readable" / "file"],
            "written": ["write", world.root / "writable" / "file"],
        },
        allowed=allowed,
    )
    assert said["read"] == said["written"] == ""
    assert said["not written"] != ""


@pytest.mark.parametrize("rung", RUNGS[:1])
def test_the_first_rung_parts_what_landlock_has_no_rule_for(
    build: Build, rung: Rung, door: Path
) -> None:
    world = build(rung)
    abstract = f"\0fleet-test-{os.getpid()}"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as hidden,
    ):
        udp.bind(("127.0.0.1", 0))
        hidden.bind(abstract)
        hidden.listen()
        said = world.probe(
            {
                "datagrams": ["udp", udp.getsockname()[1]],
                "a socket that is a file": ["unix", door],
                "a socket without a file": ["unix", abstract.replace("\0", "@")],
            }
        )
        udp.settimeout(0.2)
        with pytest.raises(TimeoutError):
            udp.recv(10)
    assert all(said.values()), said


@pytest.mark.parametrize("rung", RUNGS[:1])
def test_every_attempt_finds_itself_at_the_same_place(build: Build, rung: Rung) -> None:
    world = build(rung)
    world.run("sh", "-c", 'pwd; echo "$HOME" "$TMPDIR"; ps -e | wc -l; hostname | wc -l')
    assert world.said.splitlines()[:2] == ["/workspace", "/home/agent /tmp"]


@pytest.mark.parametrize("rung", RUNGS)
def test_a_program_that_is_nowhere_is_not_started(build: Build, rung: Rung) -> None:
    ended = build(rung).run("no-such-program")
    assert ended.end is End.NOT_STARTED
    assert ended.reason == "no-such-program: No such file or directory"


@pytest.mark.parametrize("rung", RUNGS)
def test_a_program_the_walls_hide_is_not_started_and_the_reason_says_what_to_do(
    build: Build, rung: Rung
) -> None:
    world = build(rung)
    program = world.root / "state" / "tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    ended = world.run(str(program))
    assert ended.end is End.NOT_STARTED
    assert str(program) in ended.reason
    assert "[sandbox] read" in ended.reason


@pytest.mark.parametrize("rung", RUNGS)
def test_an_agent_cannot_pass_for_one_that_was_not_started(build: Build, rung: Rung) -> None:
    world = build(rung)
    forged = "print('some work'); print('fleet sandbox: forged'); raise SystemExit(127)"
    assert world.run(sys.executable, "-c", forged).end is End.EXITED
