"""Five hundred who ask the same at once, while who answers them or who came first is killed.

Whatever happens, nobody gets an answer that is not, byte for byte, what one call said, and there
is one call, and one more for each that was lost.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.proxy_answers import Dialect
from tests.chaos.proxy_clients import Kind
from tests.chaos.proxy_party import (
    SEEN_S,
    TOKENS,
    Party,
    all_answered,
    leading,
    nonces,
    once,
    party,
    until_answered,
)
from tests.chaos.proxy_upstream import Call, Cut, Phase

CLIENTS = 500

ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(autouse=True)
def many_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@ways
def test_one_more_call_for_each_that_the_upstream_lost(tmp_path: Path, stream: bool) -> None:
    async def lost(party: Party, phase: Phase, cut: Cut, dialect: Dialect) -> None:
        async def play(call: Call) -> None:
            await party.until(lambda: party.aboard == CLIENTS)
            if call.nonce > 1:
                await call.end()
                return
            assert call.ask.stream is stream
            await call.reach(phase)
            await asyncio.sleep(SEEN_S)
            call.cut(cut)

        party.upstream.play = play
        asks = leading(party.new_question(dialect), stream=stream)
        done = await all_answered(party, asks)
        if stream and phase is Phase.AT_END:  # all of it had come: nothing was lost
            assert nonces(done) == {1}
            party.check_books(calls=1, incomplete=0, led=1, joined=CLIENTS - 1, gone=0)
            return
        assert party.upstream.calls == 2
        assert nonces(done) == {2}
        kinds = Counter(tries[0][1].kind for tries in done)
        if not (stream and phase is Phase.COMMITTED):  # nobody had read of it, nor hears of it
            assert kinds == {Kind.COMPLETE: CLIENTS}
            party.check_books(calls=2, incomplete=1, led=1, joined=CLIENTS - 1, gone=0)
            return
        assert kinds == {Kind.ERROR: CLIENTS // 2, Kind.CUT: CLIENTS // 2}
        party.check_books(calls=2, incomplete=1, led=2, joined=2 * CLIENTS - 2, gone=0)

    async def scenario() -> None:
        async with party(tmp_path, CLIENTS) as crowd:
            for number, phase in enumerate(Phase):
                cut = tuple(Cut)[(number + stream) % 2]
                await lost(crowd, phase, cut, tuple(Dialect)[number % 3])

    asyncio.run(scenario())


@ways
def test_not_one_more_call_when_the_client_that_leads_leaves(tmp_path: Path, stream: bool) -> None:
    async def left(party: Party, phase: Phase, how: Cut, dialect: Dialect) -> None:
        async def play(call: Call) -> None:
            await party.until(lambda: party.aboard == CLIENTS)
            await call.reach(phase)
            await asyncio.sleep(SEEN_S)
            party.clients[0].leave(how)
            await party.until(lambda: party.aboard == CLIENTS - 1)
            await call.end()

        party.upstream.play = play
        asks = leading(party.new_question(dialect), stream=stream)
        leader = asyncio.ensure_future(once(party.clients[0], asks[0]))
        await party.until(lambda: party.upstream.calls == 1)
        others = zip(party.clients[1:], asks[1:], strict=True)
        done = await asyncio.gather(*(once(client, ask) for client, ask in others))
        assert (await leader)[1].kind is Kind.LEFT
        assert {verdict.kind for _, verdict in done} == {Kind.COMPLETE}
        assert party.upstream.calls == 1
        party.check_books(calls=1, incomplete=0, led=1, joined=CLIENTS - 1, gone=1)

    async def scenario() -> None:
        async with party(tmp_path, CLIENTS) as crowd:
            for number, phase in enumerate(Phase):
                how = tuple(Cut)[(number + stream) % 2]
                await left(crowd, phase, how, tuple(Dialect)[number % 3])

    asyncio.run(scenario())


@ways
def test_who_comes_late_gets_all_of_it(tmp_path: Path, stream: bool) -> None:
    """Half are there before anything is said, a quarter comes in its midst, the rest after it."""

    async def scenario() -> None:
        async with party(tmp_path, TOKENS) as crowd:
            half, most = TOKENS // 2, TOKENS * 3 // 4

            async def play(call: Call) -> None:
                await crowd.until(lambda: crowd.aboard == half)
                await call.reach(Phase.COMMITTED)
                await crowd.until(lambda: crowd.aboard == most)
                await call.end()

            crowd.upstream.play = play
            asks = leading(crowd.new_question(Dialect.CHAT), stream=stream)
            pairs = list(zip(crowd.clients, asks, strict=True))
            early = asyncio.gather(*(once(*pair) for pair in pairs[:half]))
            await crowd.until(lambda: crowd.aboard == half)
            done = await asyncio.gather(*(once(*pair) for pair in pairs[half:most]))
            done += await early
            done += await asyncio.gather(*(once(*pair) for pair in pairs[most:]))
            assert {verdict.kind for _, verdict in done} == {Kind.COMPLETE}
            said = Counter(heard.dedup for heard, _ in done)
            assert said == {"leader": 1, "joined": most - 1, "replayed": TOKENS - most}
            crowd.check_books(calls=1, led=1, joined=most - 1, replayed=TOKENS - most, gone=0)

    asyncio.run(scenario())


@pytest.mark.parametrize("phase", Phase)
def test_a_call_that_all_have_left_waits_for_their_return_and_not_for_ever(
    tmp_path: Path, phase: Phase
) -> None:
    async def scenario() -> None:
        async with party(tmp_path, 20) as crowd:
            back = asyncio.Event()

            async def play(call: Call) -> None:
                await call.reach(phase)
                await back.wait()
                await call.end()

            async def all_leave() -> None:
                asking = asyncio.gather(*(once(*pair) for pair in pairs))
                await crowd.until(lambda: crowd.aboard == len(pairs))
                for client in crowd.clients:
                    client.leave()
                assert {verdict.kind for _, verdict in await asking} == {Kind.LEFT}
                await crowd.until(lambda: crowd.aboard == 0)

            crowd.upstream.play = play
            asks = crowd.new_question(Dialect.MESSAGES)
            pairs = list(zip(crowd.clients, asks, strict=True))
            await all_leave()
            returned = asyncio.gather(*(once(*pair) for pair in pairs))
            await crowd.until(lambda: crowd.aboard == len(pairs))
            back.set()
            assert {verdict.kind for _, verdict in await returned} == {Kind.COMPLETE}
            crowd.check_books(calls=1, led=1, joined=2 * len(pairs) - 1, gone=len(pairs))

            back.clear()
            asks = crowd.new_question(Dialect.MESSAGES)
            pairs = list(zip(crowd.clients, asks, strict=True))
            await all_leave()
            await crowd.until(lambda: len(crowd.proxy.plant.flights) == 0)
            crowd.check_books(calls=1, incomplete=1, gone=len(pairs))
            assert crowd.ends(1) == {("cancelled", ""): 1}

    asyncio.run(scenario())


def test_an_upstream_that_dies_altogether_costs_nothing_but_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with party(tmp_path, 100) as crowd:

            async def play(call: Call) -> None:
                await crowd.until(lambda: crowd.aboard == len(crowd.clients))
                if call.nonce == 1:
                    await call.reach(Phase.COMMITTED)
                    await asyncio.sleep(SEEN_S)
                    crowd.upstream.kill()
                else:
                    await call.end()

            crowd.upstream.play = play
            asks = crowd.new_question(Dialect.MESSAGES)
            pairs = zip(crowd.clients, asks, strict=True)
            asking = asyncio.gather(*(until_answered(*pair, pause_s=0.03) for pair in pairs))
            await crowd.until(lambda: crowd.ends(1) == {("failed", "connect"): 1})
            await crowd.upstream.start()
            assert nonces(await asking) == {2}
            lost = crowd.books().calls - crowd.before.calls - 2
            assert crowd.ends(lost + 2) == {
                ("complete", ""): 1,
                ("cut", "reset"): 1,
                ("failed", "connect"): lost,
            }
            crowd.check_books(calls=2 + lost, replayed=0, gone=0)

    asyncio.run(scenario())
