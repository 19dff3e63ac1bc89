"""The loads of whole answers, and how any load gets a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

import uvloop

from scripts.bench.rig.client import Client, Plain, connect
from scripts.bench.rig.target import Load, Meters, Target, Upstream, Work, percentile

Found = TypeVar("Found")
PROCESSES = multiprocessing.get_context("spawn")


def apart(work: Callable[..., Found], *given: object) -> Found:
    """Run it in a process of its own: no other work shares its loop, and its CPU is its own."""
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_run, args=(theirs, work, given), daemon=True)
    process.start()
    theirs.close()
    try:
        found: Found = ours.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} ended without a result: see above") from None
    finally:
        ours.close()
        process.terminate()
        process.join()
    return found


def _run(to: Connection, work: Callable[..., object], given: tuple[object, ...]) -> None:
    gc.freeze()
    gc.disable()
    with contextlib.suppress(KeyboardInterrupt):
        to.send(work(*given))


def requests(target: Target, upstream: Upstream, load: Load) -> Work:
    """Each connection asks again as soon as it is answered."""
    return uvloop.run(_requests(target, upstream, load))


async def _requests(target: Target, upstream: Upstream, load: Load) -> Work:
    made = target.template(load.size)
    times: list[float] = []
    bad, number, running = 0, load.first, True

    def again(client: Client) -> None:
        nonlocal bad, number
        if client.status:
            times.append(time.perf_counter() - client.sent)
        bad += not client.is_right
        if running and not client.closed:
            number += load.step
            client.send(made.fill(number), number)

    clients = [await connect(target, lambda: Client(again)) for _ in range(load.connections)]
    meters = Meters(target, upstream)
    meters.begin()
    began, mine = time.perf_counter(), time.process_time()
    for client in clients:
        number += load.step
        client.send(made.fill(number), number)
    await asyncio.sleep(load.seconds)
    running, done = False, len(times)
    took, own = time.perf_counter() - began, time.process_time() - mine
    gateway, mock = meters.end()
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    for client in clients:
        client.transport.abort()
    return Work(
        done=done, seconds=took, bad=bad, gateway=gateway, upstream=mock, load=own, p50=p50, p99=p99
    )


def latencies(
    targets: Sequence[Target], size: int, blocks: int, block: int, first: int
) -> list[tuple[list[float], int]]:
    """One request at a time; the targets take turns by blocks, so that drift hits them alike."""
    templates = [target.template(size) for target in targets]
    times: list[list[float]] = [[] for _ in targets]
    bad = [0] * len(targets)
    number = first
    for turn in range(blocks):
        for place in range(len(targets)):
            lane = (turn + place) % len(targets)
            line = Plain(targets[lane])  # some do not keep one open from turn to turn
            for count in range(block + 2):
                number += 1
                took, right = line.ask(templates[lane].fill(number), number)
                bad[lane] += not right
                if count >= 2:  # the first two wake what has slept since its last turn
                    times[lane].append(took)
            line.close()
    return list(zip(times, bad, strict=True))
