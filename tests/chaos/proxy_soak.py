"""A proxy between a bad provider and clients of which a third leaves; then everything is counted.

    python -m tests.chaos.proxy_soak [--minutes 2 | --requests 1000000] [--seed 1] [--kills 1]

The proxy is a process of its own. Whatever is drawn by chance comes from the seed, but for the
order in which sockets are ready. It fails when a request outlives its deadline, when an answer is
not byte for byte what one call said to that question, when `calls.db` differs from what clients
and provider counted, or when memory, descriptors or places in rooms are not given back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.chaos.proxy_crowd import Crowd
from tests.chaos.proxy_plays import Plays
from tests.chaos.proxy_process import ProxyProcess
from tests.chaos.proxy_report import Report, Sample
from tests.chaos.proxy_upstream import Upstream

AGENTS = 16
WARM_UP = 0.25  # of the whole
QUIET_S = 15.0
RESTS_S = 0.4  # until an idle proxy has given back the memory it does not need
LOSS_S = 0.4  # of rows when a proxy is killed: 20 ms, if its thread gets to run
BEFORE_KILL_S = 0.3
AFTER_KILL_S = 1.5  # with the start of a new proxy


class Soak:
    def __init__(
        self, proxy: ProxyProcess, upstream: Upstream, plays: Plays, crowd: Crowd, report: Report
    ) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.plays = plays
        self.crowd = crowd
        self.report = report

    async def run(self, *, seconds: float, requests: int, kills: int) -> None:
        crowd, report = self.crowd, self.report
        await crowd.greet()
        await crowd.flood()
        before = await self.quiet()
        await crowd.run(seconds=seconds * WARM_UP, requests=int(requests * WARM_UP))
        report.start = await self.quiet(most_files=before.files)
        began, already = time.monotonic(), crowd.tries
        await crowd.run(
            seconds=seconds * (1 - WARM_UP), requests=requests - int(requests * WARM_UP)
        )
        report.rate = (crowd.tries - already) / (time.monotonic() - began)
        report.end = await self.quiet(most_files=before.files)
        report.check_places(before)
        for _ in range(kills):
            await self.kill()
        code = await self.proxy.stop()
        report.check(code == 0, f"the proxy ended with {code}")
        self.check_books()

    async def quiet(self, most_files: int = 0) -> Sample:
        """Everybody is gone: what is left?"""
        self.crowd.close()
        self.upstream.drop()
        deadline = time.monotonic() + QUIET_S
        while True:
            sample = Sample.of(await self.proxy.metrics())
            is_quiet = not sample.busy and (not most_files or sample.files <= most_files)
            if is_quiet or time.monotonic() >= deadline:
                await asyncio.sleep(RESTS_S)
                return Sample.of(await self.proxy.metrics())
            self.upstream.drop()
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """In the midst of it. Its successor listens where it did, and clients go on."""
        crowd, report, books = self.crowd, self.report, self.proxy.books()
        load = asyncio.ensure_future(crowd.run(seconds=BEFORE_KILL_S + LOSS_S + AFTER_KILL_S))
        await asyncio.sleep(BEFORE_KILL_S)
        safe = crowd.served
        await asyncio.sleep(LOSS_S)
        self.proxy.kill()
        crowd.next_generation()
        report.kills += 1
        report.complete_before_kill = crowd.complete
        await asyncio.sleep(0.1)  # until the last calls of the dead are counted
        after = self.proxy.books()
        report.check(after.integrity == "ok", f"integrity_check says {after.integrity}")
        report.check(after.served >= safe, f"{after.served} rows of {safe} requests")
        most = crowd.sent + len(crowd.clients)  # with those that were just being served
        report.check(after.served <= most, f"{after.served} rows of at most {most} requests")
        report.check(after.calls <= self.upstream.calls, "more rows than calls")
        report.check(after.served > books.served, "nothing was written before the kill")
        crowd.sent, self.upstream.calls = after.served, after.calls  # what counts from here on
        self.plays.restate(after.by_status)
        port = self.proxy.address.port
        await self.proxy.start()
        report.check(self.proxy.address.port == port, "another port")
        await load
        await crowd.run(seconds=AFTER_KILL_S)  # the load may be over before it is up again
        await self.quiet()
        report.check(crowd.complete > report.complete_before_kill, "no client went on")

    def check_books(self) -> None:
        report, books = self.report, self.proxy.books()
        report.calls = self.upstream.calls, books.calls
        report.served = self.crowd.sent, books.served
        report.check(books.integrity == "ok", f"integrity_check says {books.integrity}")
        report.check(report.calls[0] == report.calls[1], f"calls and rows: {report.calls}")
        report.check(report.served[0] == report.served[1], f"requests and rows: {report.served}")
        for status, number in self.plays.refused.items():
            found, unread = books.by_status[status], books.by_status[0]
            right = found <= number <= found + unread  # nobody waited any more for what was sent
            report.check(right, f"{number} calls ended with {status}, rows: {found}")
        report.check(not self.proxy.failures, f"the log says {self.proxy.failures[:3]}")


async def soak(
    folder: Path,
    *,
    seconds: float = 0.0,
    requests: int = 0,
    clients: int = 64,
    seed: int = 1,
    kills: int = 1,
) -> Report:
    """So many seconds, or so many requests; the kills come on top."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rng = random.Random(seed)
    plays, report = Plays(random.Random(rng.random())), Report()
    async with Upstream(plays) as upstream:
        proxy = ProxyProcess(folder, upstream.port, AGENTS)
        await proxy.start()
        crowd = Crowd(proxy.address.port, proxy.tokens, clients, rng)
        try:
            await Soak(proxy, upstream, plays, crowd, report).run(
                seconds=seconds, requests=requests, kills=kills
            )
        finally:
            proxy.kill()
            crowd.close()
        report.take(crowd, plays)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="proxy-soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--clients", type=int, default=160)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=1)
    options = parser.parse_args()
    if not options.minutes and not options.requests:
        options.minutes = 2.0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-soak-")))
        report = uvloop.run(
            soak(
                folder,
                seconds=options.minutes * 60,
                requests=options.requests,
                clients=options.clients,
                seed=options.seed,
                kills=options.kills,
            )
        )
    sys.stdout.write(report.table())
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
