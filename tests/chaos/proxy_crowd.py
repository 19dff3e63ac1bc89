"""Clients that ask one question after the other, some of them the same, and often leave."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence

from tests.chaos.proxy_answers import Ask, Dialect
from tests.chaos.proxy_clients import Client, Heard, Kind, judge
from tests.chaos.proxy_upstream import Cut

LEAVES = 0.55  # mean to: some answers are faster
LEAVES_WITHIN_S = 0.02
SLOW = 0.03
SLOW_S = 0.004  # between two reads
ALONE = 0.04
RETRY_S = 0.1
AT_ONCE = 10  # questions that are asked at one time,
SAME = 30  # each about so many times
SIZES = (0, 0, 0, 700, 6_000, 60_000)  # bytes before the question
HUGE = 400_000
_DIALECTS = tuple(Dialect)


class Crowd:
    def __init__(self, port: int, tokens: Sequence[str], clients: int, rng: random.Random) -> None:
        self.clients = [Client(port, tokens[n % len(tokens)]) for n in range(clients)]
        self.kinds: Counter[Kind] = Counter()
        self.dedups: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.seconds = array("f")  # of complete answers
        self.tries = 0
        self.sent = 0  # requests that the proxy must have served
        self.served = 0  # of them, those that are over
        self._rng = rng
        self._generation = 0
        self._questions = 0

    @property
    def complete(self) -> int:
        return self.kinds[Kind.COMPLETE]

    def close(self) -> None:
        for client in self.clients:
            client.close()

    def next_generation(self) -> None:
        """The proxy has just died: connections to it are worth nothing."""
        self._generation += 1

    async def greet(self) -> None:
        """Each token once, so that the proxy knows them all."""
        for client in self.clients:
            await self._try(client, self._draw())

    async def flood(self) -> None:
        """As much at once as there can be: what memory that takes must not stay taken."""
        first = self._questions // SAME + AT_ONCE  # of a time of their own
        self._questions += SAME * (len(self.clients) + AT_ONCE)
        asks = [
            Ask(_DIALECTS[n % len(_DIALECTS)], first + n, stream=n % 2 == 0, size=HUGE)
            for n in range(len(self.clients))
        ]
        pairs = zip(self.clients, asks, strict=True)
        await asyncio.gather(*(self._try(client, ask) for client, ask in pairs))

    async def run(self, *, seconds: float = 0.0, requests: int = 0) -> None:
        until = time.monotonic() + seconds if seconds else float("inf")
        most = self.tries + requests if requests else sys.maxsize
        await asyncio.gather(*(self._go_on(client, until, most) for client in self.clients))

    async def _go_on(self, client: Client, until: float, most: int) -> None:
        generation = self._generation
        while time.monotonic() < until and self.tries < most:
            if generation != self._generation:
                client.close()
                generation = self._generation
            if await self._try(client, self._draw()) is Kind.DOWN:
                await asyncio.sleep(RETRY_S)

    async def _try(self, client: Client, ask: Ask) -> Kind:
        rng, generation = self._rng, self._generation
        self.tries += 1
        heard = await client.ask(
            ask,
            leave_after=rng.random() * LEAVES_WITHIN_S if rng.random() < LEAVES else None,
            leave_how=rng.choice((Cut.CLOSE, Cut.RESET)),
            slow=SLOW_S if rng.random() < SLOW else 0.0,
        )
        is_past = generation != self._generation
        if heard.sent and not is_past:
            self.sent += 1
            self.served += 1
        return self._tally(ask, heard, is_past=is_past)

    def _tally(self, ask: Ask, heard: Heard, *, is_past: bool) -> Kind:
        verdict = judge(ask, heard)
        kind = verdict.kind
        if kind is Kind.DOWN and heard.sent and not is_past:
            kind = Kind.WRONG  # it was there, and let go without a word
        self.kinds[kind] += 1
        if kind in (Kind.WRONG, Kind.HANG) and len(self.wrong) < 20:
            self.wrong.append(f"{kind}: {ask}: {verdict.why}"[:900])
        if heard.dedup:
            self.dedups[heard.dedup.partition(":")[0]] += 1
        if kind is Kind.COMPLETE:
            self.seconds.append(heard.seconds)
        return kind

    def _draw(self) -> Ask:
        """Questions come and go: those of one time are asked by many, also when they are over."""
        rng = self._rng
        self._questions += 1
        number = self._questions // SAME + rng.randrange(AT_ONCE)
        dialect = _DIALECTS[number % len(_DIALECTS)]
        return Ask(
            dialect,
            number,
            stream=rng.random() < 0.6,
            usage=rng.random() < 0.5,
            size=HUGE if number % 101 == 0 else SIZES[number // 3 % len(SIZES)],
            alone=rng.random() < ALONE,
        )
