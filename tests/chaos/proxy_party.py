"""Many clients of one proxy, with a provider that a test leads through its phases."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleet.core.traffic import Totals
from fleet.store.database import Database
from fleet.store.tokens import issue_by_hand
from fleet.store.traffic import latest_calls, totals
from tests.chaos.proxy_answers import Ask, Dialect
from tests.chaos.proxy_clients import Client, Heard, Kind, Verdict, judge
from tests.chaos.proxy_upstream import Call, Upstream
from tests.proxy.running import Running, running

TOKENS = 250  # each is had by two of five hundred clients
TRIES = 60
SEEN_S = 0.01  # until the proxy has read what was just sent: it runs in this very loop
FLEET = """
[proxy]
grace = "0.25s"
breaker_open = "0.1s"
[proxy.upstreams.one]
kind = "anthropic"
url = "http://127.0.0.1:{port}"
[proxy.upstreams.other]
kind = "openai"
url = "http://127.0.0.1:{port}"
"""

Try = tuple[Heard, Verdict]


@dataclass
class Party:
    """Clients of one proxy with one provider."""

    proxy: Running
    upstream: Upstream
    clients: list[Client]
    question: int = 0
    before: Totals = field(default_factory=Totals)

    def new_question(self, dialect: Dialect) -> list[Ask]:
        """One that nobody asked before, put in every way; the first two are a stream and none."""
        self.question += 1
        self.upstream.calls = 0
        self.before = self.books()
        return [
            Ask(dialect, self.question, stream=number % 2 == 0, usage=number % 8 == 0)
            for number in range(len(self.clients))
        ]

    @property
    def aboard(self) -> int:
        rooms = self.proxy.plant.pipeline.rooms
        return rooms.inference.occupancy + rooms.stream.occupancy

    async def until(self, come: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not come():
                await asyncio.sleep(0.002)
        await asyncio.sleep(SEEN_S)

    def books(self) -> Totals:
        with contextlib.closing(self.proxy.calls_db()) as db:
            return totals(db)

    def ends(self, calls: int) -> Counter[tuple[str, str]]:
        """How the last calls ended, and why."""
        with contextlib.closing(self.proxy.calls_db()) as db:
            return Counter((call.ended.value, call.fault) for call in latest_calls(db, calls))

    def check_books(self, **wanted: int) -> None:
        """What was written down since the question was first asked."""
        after, before = self.books(), self.before
        found = {name: getattr(after, name) - getattr(before, name) for name in wanted}
        assert found == wanted
        assert after.requests - before.requests == sum(
            getattr(after, name) - getattr(before, name) for name in ("led", "joined", "replayed")
        )
        assert self.aboard == 0
        assert len(self.proxy.plant.flights) == 0


@contextlib.asynccontextmanager
async def party(folder: Path, clients: int) -> AsyncIterator[Party]:
    async with (
        Upstream(Call.end) as upstream,
        running(folder, FLEET.format(port=upstream.port)) as proxy,
    ):
        with contextlib.closing(Database(proxy.layout.database)) as db:
            tokens = [issue_by_hand(db, f"a{n}", 1.0) for n in range(min(clients, TOKENS))]
        port = proxy.server.port
        crowd = [Client(port, tokens[n % len(tokens)]) for n in range(clients)]
        try:
            yield Party(proxy, upstream, crowd)
        finally:
            for client in crowd:
                client.close()


async def once(client: Client, ask: Ask) -> Try:
    heard = await client.ask(ask)
    verdict = judge(ask, heard)
    assert verdict.kind not in (Kind.WRONG, Kind.HANG, Kind.DOWN), verdict
    return heard, verdict


async def until_answered(client: Client, ask: Ask, pause_s: float = 0.0) -> list[Try]:
    """As real clients do: again after every error and every cut."""
    tries = [await once(client, ask)]
    while tries[-1][1].kind is not Kind.COMPLETE:
        assert len(tries) < TRIES
        await asyncio.sleep(pause_s)
        tries.append(await once(client, ask))
    return tries


async def all_answered(party: Party, asks: Sequence[Ask]) -> list[list[Try]]:
    pairs = zip(party.clients, asks, strict=True)
    return await asyncio.gather(*(until_answered(client, ask) for client, ask in pairs))


def nonces(done: Sequence[Sequence[Try]]) -> set[int]:
    """Of the calls whose answers the clients ended up with."""
    return {tries[-1][1].made.nonce for tries in done if tries[-1][1].made is not None}


def leading(asks: list[Ask], *, stream: bool) -> list[Ask]:
    """The same, with one of the wanted kind in front."""
    return asks if stream else [*asks[1:], asks[0]]
