"""fleet.toml that changes under a proxy at work."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx

from fleet import config as configuration
from fleet.core.event import Kind
from fleet.proxy.settings import LOOK_S, SettingsWatch
from fleet.store import events
from fleet.store.database import Database
from tests.proxy.running import Running, running

FLEET = """
[proxy]
dedup = "off"
{more}
[proxy.upstreams.one]
kind = "script"
script = "{script}.toml"
"""
BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


class Watched:
    """A proxy, its fleet.toml, and who looks at it."""

    def __init__(self, proxy: Running, folder: Path) -> None:
        self.proxy = proxy
        self.top = folder / "repository"
        self.environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
        config = configuration.load(self.top, self.environ)
        self.watch = SettingsWatch(config, self.top, self.environ, proxy.plant.reports)
        self._now = 0.0

    async def write(self, text: str) -> None:
        (self.top / "fleet.toml").write_text(text)
        self._now += LOOK_S
        await self.watch.look(self.proxy.plant.settings, self._now)

    async def ask(self) -> str:
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.post(f"{self.proxy.url}/v1/messages", json=BODY)
        return str(json.loads(answer.content)["content"][0]["text"])


def told(folder: Path) -> list[str]:
    with contextlib.closing(Database(folder / "git/fleet/state.db", read_only=True)) as db:
        return [event.reason for event in events.since(db, 0) if event.kind is Kind.SETTINGS]


def prepare(folder: Path) -> None:
    top = folder / "repository"
    top.mkdir()
    (top / "old.toml").write_text('[[rules]]\ntext = "old"\ndelay = 0.4\n')
    (top / "new.toml").write_text('[[rules]]\ntext = "new"\n')


def test_calls_under_way_end_where_they_began_and_the_next_go_to_the_new_upstream(
    tmp_path: Path,
) -> None:
    prepare(tmp_path)

    async def scenario() -> None:
        async with running(tmp_path, FLEET.format(script="old", more="")) as proxy:
            found = Watched(proxy, tmp_path)
            under_way = asyncio.ensure_future(found.ask())
            async with asyncio.timeout(10):
                while not len(proxy.plant.flights):
                    await asyncio.sleep(0.005)
            await found.write(FLEET.format(script="new", more=""))
            assert await found.ask() == "new"
            assert await under_way == "old"

    asyncio.run(scenario())
    assert told(tmp_path) == ["taken over from fleet.toml"]


def test_a_mistake_changes_nothing_and_is_told_with_its_line(tmp_path: Path) -> None:
    prepare(tmp_path)

    async def scenario() -> None:
        async with running(tmp_path, FLEET.format(script="old", more="")) as proxy:
            found = Watched(proxy, tmp_path)
            await found.write(FLEET.format(script="new", more='hold_max = "long"'))
            assert await found.ask() == "old"
            (tmp_path / "repository" / "fleet.toml").unlink()
            await found.write(FLEET.format(script="new", more="port = 4001"))
            assert await found.ask() == "new"

    asyncio.run(scenario())
    refused, taken = told(tmp_path)
    assert refused.startswith("refused, the old ones hold: fleet.toml:4: hold_max must be")
    assert taken == "taken over from fleet.toml; not before the next proxy: port"


def test_an_upstream_whose_key_the_proxy_was_not_given_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path)

    async def scenario() -> None:
        async with running(tmp_path, FLEET.format(script="old", more="")) as proxy:
            found = Watched(proxy, tmp_path)
            more = '[proxy.upstreams.paid]\nkind = "anthropic"\nkeys = ["LATE_KEY"]\n'
            await found.write(FLEET.format(script="new", more="") + more)
            assert await found.ask() == "old"

    asyncio.run(scenario())
    assert "none of LATE_KEY is set where the proxy was started" in told(tmp_path)[0]
