"""The HTTP engine alone, server to client, nothing in between: what a request and an event cost.

    PYTHONPATH=. .venv/bin/python scripts/bench/engine.py [--loop uvloop] [--rounds 3] [--seconds 3]

Direct, through a bare pipe and through the engine in alternating rounds, 2 KB up and 1 KB down;
then 100 streams of events, one each 20 ms. The pipe passes bytes on unread: what sockets and the
loop cost by themselves, at this hour on this machine. CPU is that of the process, by the kernel's
own count. Load comes from wrk where it is installed, otherwise from a slower loop of our own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from scripts.bench.engine_ends import ANSWER, GAP_S, Mock

BODY = b'{"prompt": "%s"}' % (b"x" * 2032)
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
STREAMS = 100
ENDS = Path(__file__).with_name("engine_ends.py")


@contextmanager
def child(role: str, loop: str, port: int = 0) -> Iterator[tuple[int, int]]:
    argv = [sys.executable, str(ENDS), role, loop, str(port)]
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
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
