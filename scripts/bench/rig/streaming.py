"""The loads of streams, and of answers that several share; run by `load.apart`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import uvloop

from scripts.bench.rig.bodies import Template
from scripts.bench.rig.client import DEDUP, Client, Listener, Plain, connect
from scripts.bench.rig.processes import Memory, memory
from scripts.bench.rig.target import Load, Meters, Target, Upstream, Work, percentile

APART, SETTLED, SPARE = 0.005, 0.3, 0.5  # seconds: between starts, after the last, at the end


@dataclass(frozen=True, slots=True)
class Streamed:
    work: Work
    idle: Memory
    full: Memory


def streams(target: Target, upstream: Upstream, load: Load, rate: float) -> Streamed:
    """A paced stream on each connection. Events count in a window in which all of them run."""
    return uvloop.run(_streams(target, upstream, load, rate))


async def _streams(target: Target, upstream: Upstream, load: Load, rate: float) -> Streamed:
    number = load.connections
    upstream.pace(
        rate=rate, events=int((3 * number * APART + SETTLED + load.seconds + SPARE) * rate)
    )
    idle = memory(target.pids)
    ages: list[int] = []
    over: list[Client] = []
    all_over = asyncio.Event()

    def ended(client: Client) -> None:
        over.append(client)
        if len(over) == number:
            all_over.set()

    clients = [await connect(target, lambda: Listener(ended, ages.append)) for _ in range(number)]
    await _begin(clients, target.template(load.size, stream=True), load.first)
    work = await _window(Meters(target, upstream), ages, load.seconds)
    early, full = len(over), memory(target.pids)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(all_over.wait(), 3 * number * APART + SPARE + 10)
    bad = early + sum(not client.is_right for client in clients)
    for client in clients:
        client.transport.abort()
    return Streamed(replace(work, bad=bad), idle, full)


async def _begin(clients: Sequence[Client], made: Template, first: int) -> None:
    """A little apart, so that their events do not come in step."""
    began = time.perf_counter()
    for count, client in enumerate(clients):
        client.send(made.fill(first + count), first + count)
        await asyncio.sleep(max(0.0, began + (count + 1) * APART - time.perf_counter()))
    await asyncio.sleep(SETTLED)


async def _window(meters: Meters, ages: list[int], seconds: float) -> Work:
    meters.begin()
    ages.clear()
    began, mine = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took, own, seen = time.perf_counter() - began, time.process_time() - mine, list(ages)
    gateway, mock = meters.end()
    return Work(
        done=len(seen),
        seconds=took,
        bad=0,
        gateway=gateway,
        upstream=mock,
        load=own,
        p50=percentile(seen, 0.5) / 1e9,
        p99=percentile(seen, 0.99) / 1e9,
    )


@dataclass(frozen=True, slots=True)
class Joined:
    first_byte: list[float]  # seconds from the request
    first_event: list[float]
    dedup: dict[str, int]
    calls: int  # that the upstream was asked, the leader's included


def joiners(
    target: Target, upstream: Upstream, size: int, number: int, age: float, first: int
) -> Joined:
    """A stream runs for a while; then others ask for the same, one after the other."""
    upstream.pace(rate=30, events=int(30 * (age + 1 + number * 0.05)))
    before = upstream.count("calls")
    same = target.template(size, stream=True).fill(first)
    leader = Plain(target)
    leader.send(same)
    leader.until(b"data: ")
    time.sleep(age)
    bytes_, events, dedup = [], [], Counter[str]()
    for _ in range(number):
        line = Plain(target)
        time.sleep(0.02)  # its connection is accepted, and all is quiet
        began = time.perf_counter()
        line.send(same)
        head = line.some()
        bytes_.append(time.perf_counter() - began)
        if b"data: " not in head:
            head += line.until(b"data: ")
        events.append(time.perf_counter() - began)
        dedup[_said(head)] += 1
        line.close()
    calls = upstream.count("calls") - before
    leader.close()
    return Joined(bytes_, events, dict(dedup), calls)


def _said(head: bytes) -> str:
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == DEDUP:
            return value.strip().decode()
    return "-"


@dataclass(frozen=True, slots=True)
class Burst:
    right: int
    seconds: float  # until the last was answered
    dedup: dict[str, int]
    calls: int


def burst(target: Target, upstream: Upstream, size: int, number: int, first: int) -> Burst:
    """The same request on so many connections at once, while its answer takes a while to begin."""
    return uvloop.run(_burst(target, upstream, size, number, first))


async def _burst(target: Target, upstream: Upstream, size: int, number: int, first: int) -> Burst:
    upstream.pace(delay=0.5)
    before = upstream.count("calls")
    same = target.template(size).fill(first)
    over: list[Client] = []
    all_over = asyncio.Event()

    def ended(client: Client) -> None:
        over.append(client)
        if len(over) == number:
            all_over.set()

    clients = [await connect(target, lambda: Client(ended)) for _ in range(number)]
    began = time.perf_counter()
    for client in clients:
        client.send(same, first)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(all_over.wait(), 60)
    took = time.perf_counter() - began
    for client in clients:
        client.transport.abort()
    upstream.pace()
    dedup = Counter(client.dedup.decode() or "-" for client in clients)
    right = sum(client.is_right for client in clients)
    return Burst(right, took, dict(dedup), upstream.count("calls") - before)
