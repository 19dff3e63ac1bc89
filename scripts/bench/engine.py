"""The HTTP engine alone, server to client, nothing in between: what a request and an event cost.

    .venv/bin/python scripts/bench/engine.py [--loop uvloop] [--rounds 3] [--seconds 3]

Direct, through a bare pipe and through the engine in alternating rounds, 2 KB up and 1 KB down;
then 100 streams of events, one each 20 ms. The pipe passes bytes on unread: what sockets and the
loop cost by themselves, at this hour on this machine. CPU is that of the process, by the kernel's
own count. Load comes from wrk where it is installed, otherwise from a slower loop of our own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from fleet.proxy.http.client import Client, Origin, Timeouts
from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.wire import Failure, Headers, Reply, Sending

BODY = b'{"prompt": "%s"}' % (b"x" * 2032)
ANSWER = b'{"text": "%s"}' % (b"y" * 956)
EVENT = b'event: content_block_delta\ndata: {"delta": {"text": "%s"}}\n\n' % (b"z" * 64)
HEADERS = (
    ("host", "127.0.0.1"),
    ("content-type", "application/json"),
    ("user-agent", "agent/2.0.14 (external, cli)"),
    ("x-api-key", "k" * 40),
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "interleaved-thinking-2025-05-14"),
    ("accept", "application/json"),
    ("accept-encoding", "identity"),
)
STREAMS, GAP_S = 100, 0.02


class Relay:
    """What came goes on: whole when it has a length, else as it comes."""

    __slots__ = ("body", "exchange", "headers", "sending", "status", "streams")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.body = b""
        self.sending: Sending | None = None

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self.streams = (b"transfer-encoding", b"chunked") in headers
        if self.streams:
            self.exchange.start(status, headers, None)

    def data(self, data: bytes) -> None:
        if self.streams:
            self.exchange.write(data)
        else:
            self.body += data

    def end(self) -> None:
        if self.streams:
            self.exchange.end()
        else:
            self.exchange.reply(Reply(self.status, self.headers, self.body))

    def failed(self, failure: Failure) -> None:
        print(failure, file=sys.stderr)
        self.exchange.abort()


async def engine(upstream: int) -> None:
    origin = Origin("http", "127.0.0.1", upstream)
    timeouts = Timeouts()
    async with Client() as client:

        def accept(exchange: Exchange) -> None:
            request = exchange.request
            relay = Relay(exchange)
            relay.sending = client.send(
                origin,
                request.method,
                request.target,
                request.headers,
                request.body,
                relay,
                timeouts,
            )
            exchange.on_gone = relay.sending.cancel

        server = await Server.listen("127.0.0.1", 0, accept)
        await until_stopped(server.port)
        await server.close()


class End(asyncio.Protocol):
    """One end of a bare pipe: what it reads, the other writes."""

    def __init__(self, other: End | None = None) -> None:
        self.other = other
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.other is not None:
            self.other.other = self
            self.transport.write(self.other.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.abort()


async def pipe(upstream: int) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:

        def accept() -> End:
            near = End()
            tasks.create_task(loop.create_connection(lambda: End(near), "127.0.0.1", upstream))
            return near

        listener = await loop.create_server(accept, "127.0.0.1", 0, backlog=1024)
        await until_stopped(listener.sockets[0].getsockname()[1])
        listener.close()


async def upstream(_: int) -> None:
    listener = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", 0, backlog=1024)
    await until_stopped(listener.sockets[0].getsockname()[1])
    listener.close()


class Mock(asyncio.Protocol):
    """As little as an upstream can do: requests are counted by length, not parsed."""

    transport: asyncio.Transport
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(ANSWER),
        ANSWER,
    )
    stream = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self.transport = cast(asyncio.Transport, transport)
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while b"\r\n\r\n" in self.seen:
            head, _, rest = self.seen.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: (\d+)", head)
            length = int(found[1]) if found else 0
            if len(rest) < length:
                return
            self.seen = rest[length:]
            if head.startswith(b"GET"):
                self.transport.write(self.stream)
                self.next()
            else:
                self.transport.write(self.whole)

    def next(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.chunk)
            asyncio.get_running_loop().call_later(GAP_S, self.next)


async def until_stopped(port: int) -> None:
    gc.freeze()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(port, flush=True)
    await stop.wait()


ROLES: dict[str, Callable[[int], Coroutine[None, None, None]]] = {
    "engine": engine,
    "pipe": pipe,
    "upstream": upstream,
}


@contextmanager
def child(role: str, loop: str, port: int = 0) -> Iterator[tuple[int, int]]:
    argv = [sys.executable, __file__, "--role", role, "--port", str(port), "--loop", loop]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.terminate()


def cpu(pid: int) -> float:
    """Seconds of a process, its system calls included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Resident, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def requests(port: int, seconds: int, connections: int) -> int:
    """Answers of status 200 in that time."""
    if shutil.which("wrk") is None:
        return uvloop.run(ask(port, seconds, connections))
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in HEADERS[1:])
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = [[{BODY.decode()}]]\n{headers}')
        script.flush()
        argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name]
        argv.append(f"http://127.0.0.1:{port}/v1/messages?beta=true")
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        print(told, file=sys.stderr)
    found = re.search(r"(\d+) requests in", told)
    assert found is not None, told
    return int(found[1])


async def ask(port: int, seconds: int, connections: int) -> int:
    head = "POST /v1/messages?beta=true HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    whole = f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
    ends, done = time.monotonic() + seconds, 0

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < ends:
            writer.write(whole)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(ANSWER))
            done += 1
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(one())
    return done


async def listen(port: int, seconds: float, pid: int) -> tuple[int, float]:
    """Events that came in that time, and the CPU they took; connecting is not counted."""
    size = 0

    class Reader(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            nonlocal size
            size += len(data)

    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(STREAMS):
        transport, _reader = await loop.create_connection(Reader, "127.0.0.1", port)
        transport.write(b"GET /stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        opened.append(transport)
        await asyncio.sleep(GAP_S / STREAMS)
    await asyncio.sleep(0.5)
    before, size = cpu(pid), 0
    await asyncio.sleep(seconds)
    used, events = cpu(pid) - before, size // len(Mock.chunk)
    for transport in opened:
        transport.abort()
    return events, used


@dataclass(slots=True)
class Lane:
    """What was measured of one process in the middle."""

    pid: int
    port: int
    rates: list[float] = field(default_factory=list)  # requests a second
    requests: list[float] = field(default_factory=list)  # µs each
    events: list[float] = field(default_factory=list)

    def measure(self, args: argparse.Namespace) -> None:
        before = cpu(self.pid)
        done = requests(self.port, args.seconds, args.connections)
        self.requests.append((cpu(self.pid) - before) / done * 1e6)
        self.rates.append(done / args.seconds)
        came, used = uvloop.run(listen(self.port, args.seconds, self.pid))
        self.events.append(used / came * 1e6)


def measure(args: argparse.Namespace) -> None:
    direct: list[float] = []
    with ExitStack() as stack:
        _, behind = stack.enter_context(child("upstream", "uvloop"))
        lanes = {
            name: Lane(*stack.enter_context(child(name, args.loop, behind)))
            for name in ("pipe", "engine")
        }
        requests(lanes["engine"].port, 1, args.connections)
        for _ in range(args.rounds):
            direct.append(requests(behind, args.seconds, args.connections) / args.seconds)
            for lane in lanes.values():
                lane.measure(args)
        rss = memory(lanes["engine"].pid)
    median = statistics.median
    print(f"{args.loop}, {args.connections} connections, {STREAMS} streams; median (least)")
    print(f"direct  {median(direct):7.0f} requests/s")
    for name, lane in lanes.items():
        print(
            f"{name:7} {median(lane.rates):7.0f} requests/s,"
            f" {median(lane.requests):6.1f} ({min(lane.requests):.1f}) µs CPU a request,"
            f" {median(lane.events):5.1f} ({min(lane.events):.1f}) µs an event"
        )
    print(f"memory of the engine {rss:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--role", choices=list(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role is None:
        measure(args)
    elif args.loop == "uvloop":
        uvloop.run(ROLES[args.role](args.port))
    else:
        asyncio.run(ROLES[args.role](args.port))


if __name__ == "__main__":
    main()
