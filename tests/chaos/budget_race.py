"""Clients that spend more than there is, and a proxy that is killed under them.

    python -m tests.chaos.budget_race [--rounds 1000] [--clients 256] [--seed 1]

In every round a new run begins, with a dollar to spend. All clients ask at once, again and again
until they are told that the money is gone; in every other round the proxy is killed in the midst of
it. The provider charges for every call that reaches it, whether anybody hears its answer or not.
It fails when what it charged in a round, or what the books say, is ever more than that dollar.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from fleet.core.traffic import NANO
from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.wire import Reply
from fleet.store.controls import Controls
from fleet.store.database import Database
from fleet.store.traffic import open_calls, set_aside, totals
from tests.chaos.proxy_process import ProxyProcess

FLEET = """
[proxy]
dedup = "off"
grace = "0.1s"
tries = 2
breaker_open = "0.01s"
[proxy.upstreams.one]
kind = "anthropic"
url = "http://127.0.0.1:{port}"
[proxy.prices.priced]
input = 3
output = 15
[budget]
run_usd = 1
"""
LIMIT = NANO
NOTICED_S = 0.25  # until the proxy knows of a new run, and has written the last one down
MOST_OUTPUT = 2000
JSON = ((b"content-type", b"application/json"),)


@dataclass
class Provider:
    """Charges what it says, and a little later says it; sometimes it cuts the line instead."""

    rng: random.Random
    charged: int = 0  # nano-dollars, in this round
    calls: int = 0
    port: int = 0

    def accept(self, exchange: Exchange) -> None:
        size, rng = len(exchange.request.body), self.rng
        given, made = rng.randrange(size // 3 + 1), rng.randrange(MOST_OUTPUT + 1)
        self.charged += given * 3000 + made * 15000
        self.calls += 1
        usage = {"input_tokens": given, "output_tokens": made}
        body = json.dumps(
            {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "model": "priced",
                "content": [{"type": "text", "text": "x"}],
                "stop_reason": "end_turn",
                "usage": usage,
            }
        ).encode()
        asyncio.get_running_loop().call_later(
            rng.uniform(0.0, 0.03), self._answer, exchange, body, rng.random() < 0.05
        )

    def _answer(self, exchange: Exchange, body: bytes, is_cut: bool) -> None:
        if is_cut:
            exchange.abort()
        else:
            exchange.reply(Reply(200, JSON, body))


@dataclass
class Race:
    proxy: ProxyProcess
    provider: Provider
    rng: random.Random
    clients: int
    rounds: int = 0
    kills: int = 0
    calls: int = 0
    lost: int = 0  # calls that a killed proxy had under way
    highest: float = 0.0  # share of the limit, as the provider charged it
    faults: list[str] = field(default_factory=list)

    async def round(self, *, kills: bool) -> None:
        began = self._new_run()
        await asyncio.sleep(NOTICED_S)
        self.provider.charged = self.provider.calls = 0
        killing = asyncio.ensure_future(self._kill()) if kills else None
        await asyncio.gather(*(self._spend(number) for number in range(self.clients)))
        if killing is not None:
            await killing
        await asyncio.sleep(0.1)
        self.rounds += 1
        self.calls += self.provider.calls
        with contextlib.closing(open_calls(self.proxy.layout.calls_database)) as db:
            booked, aside = totals(db, since=began).cost, set_aside(db)
        charged = self.provider.charged
        self.highest = max(self.highest, charged / LIMIT)
        where = f"round {self.rounds}{', killed' if kills else ''}"
        if charged > LIMIT:
            self.faults.append(f"{where}: the provider charged {charged / NANO:.4f} of 1")
        if booked + aside > LIMIT:
            self.faults.append(f"{where}: the books say {(booked + aside) / NANO:.4f} of 1")
        if charged > booked + aside:
            self.faults.append(f"{where}: charged {charged} of which the books know {booked}")
        if charged < LIMIT // 3 and not kills:  # a killed proxy's calls count with their most
            self.faults.append(f"{where}: only {charged / NANO:.4f} was spent: this proves nothing")

    def _new_run(self) -> float:
        began = round(time.time(), 3)
        with contextlib.closing(Database(self.proxy.layout.database)) as db:
            Controls(db).set("run-began", f"{began:.3f}")
        return began

    async def _kill(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.005, 0.1))
        self.proxy.kill()
        self.kills += 1
        await self.proxy.start()

    async def _spend(self, number: int) -> None:
        """Until there is no money; a proxy that is gone is waited for."""
        body = json.dumps({"model": "priced", "max_tokens": MOST_OUTPUT, "n": number}).encode()
        token = self.proxy.tokens[number % len(self.proxy.tokens)]
        head = f"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {token}\r\n"
        request = f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
        for _ in range(200):
            status = await self._ask(request)
            if status == 429:
                return
            if not status:
                await asyncio.sleep(0.05)
        self.faults.append("a client was never told that the money is gone")

    async def _ask(self, request: bytes) -> int:
        """The status; 0 if nobody answers."""
        try:
            port = self.proxy.address.port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                line = await asyncio.wait_for(reader.readline(), 20)
                await reader.read()
                return int(line.split()[1]) if line else 0
            finally:
                writer.close()
        except OSError:
            return 0
        except TimeoutError:
            self.faults.append("a request hung for 20 s")
            return 429

    def table(self) -> str:
        return (
            f"{self.rounds:,} rounds of {self.clients} clients, {self.calls:,} calls paid for, "
            f"{self.kills:,} kills; at most {self.highest:.1%} of the limit was charged; "
            f"{len(self.faults)} faults" + "".join(f"\n  {fault}" for fault in self.faults[:20])
        )


async def race(folder: Path, *, rounds: int, clients: int, seed: int = 1) -> Race:
    rng = random.Random(seed)
    provider = Provider(random.Random(seed + 1))
    server = await Server.listen("127.0.0.1", 0, provider.accept)
    proxy = ProxyProcess(folder, server.port, 16, fleet_toml=FLEET)
    await proxy.start()
    found = Race(proxy, provider, rng, clients)
    try:
        for number in range(rounds):
            await found.round(kills=number % 2 == 1)
        found.faults += proxy.failures
        return found
    finally:
        await proxy.stop()
        await server.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(
            race(Path(folder), rounds=chosen.rounds, clients=chosen.clients, seed=chosen.seed)
        )
    sys.stdout.write(found.table() + "\n")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
