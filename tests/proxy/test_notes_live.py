"""Notes on their way from the ledger through a proxy to a model."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from fleet.core.attempt import Claim, Outcome
from fleet.core.note import Via
from fleet.proxy.dialects.noting import worded
from fleet.store import notes, tokens
from fleet.store.database import Database
from fleet.store.layout import Layout
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from tests.builders import NOW, RNG, a_ledger, a_task, an_owner
from tests.e2e.provider import a_provider
from tests.proxy.running import Running, running

FLEET = '[proxy.upstreams.demo]\nkind = "script"\nscript = "model.toml"\n'
SCRIPT = """
[[rules]]
when = 'from the user of this fleet(?s:.*)go left'
text = "left, then"
[[rules]]
prompt = 'go left'
text = "still left"
[[rules]]
text = "straight on"
"""
TOOLS = [{"name": "bash", "input_schema": {"type": "object"}}]

Json = dict[str, Any]


@contextlib.contextmanager
def ledger_of(folder: Path) -> Iterator[Database]:
    (folder / "repository").mkdir(exist_ok=True)
    (folder / "repository" / "model.toml").write_text(SCRIPT)
    layout = Layout(common_dir=folder / "git", top=folder / "repository", cache=folder / "cache")
    layout.prepare()
    with contextlib.closing(Database(layout.database)) as db:
        db.migrate(MIGRATIONS)
        yield db


def an_attempt(db: Database, task: str = "one") -> tuple[Claim, str]:
    Roster(db).sync([a_task(task)], now=NOW)
    found = a_ledger(db).claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    a_ledger(db).running(found[0], agent="mini", base="b", now=NOW)
    return found[0], tokens.issue(db, found[0], "mini", NOW)


def steer(db: Database, text: str, via: Via = Via.PROXY) -> None:
    notes.write(db, "one", text, lambda _: via, now=NOW)


async def learnt(proxy: Running, token: str, number: int) -> None:
    async with asyncio.timeout(5):
        while True:
            caller = proxy.plant.callers.find(token.encode())
            if caller is not None and len(caller.notes) == number:
                return
            await asyncio.sleep(0.005)


def body(turns: int, **more: object) -> Json:
    messages: list[Json] = [{"role": "user", "content": "drive"}]
    for number in range(turns):
        call = {"type": "tool_use", "id": f"t{number}", "name": "bash", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": "ok"}
        messages += [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]
    return {"model": "m", "max_tokens": 9, "tools": TOOLS, **more, "messages": messages}


def test_a_note_is_heard_with_the_next_question_and_ever_after(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        claim, token = an_attempt(db)
        async with running(tmp_path, FLEET) as proxy, httpx.AsyncClient() as client:
            base = proxy.url_of(token)

            async def ask(asked: Json, url: str = base) -> tuple[str, str]:
                answer = await client.post(f"{url}/v1/messages", json=asked)
                said = answer.json()["content"][0]["text"]
                return said, str(answer.headers["x-fleet-dedup"])

            assert await ask(body(0)) == ("straight on", "leader")
            steer(db, "go left")
            steer(db, "by another way", Via.STDIN)
            await learnt(proxy, token, 1)
            assert await ask(body(1)) == ("left, then", "leader")
            assert await ask(body(2)) == ("still left", "leader")
            title = {key: value for key, value in body(0).items() if key != "tools"}
            assert await ask(title) == ("straight on", "leader")
            counted = await client.post(f"{base}/v1/messages/count_tokens", json=body(2))
            plain = await client.post(f"{proxy.url}/v1/messages/count_tokens", json=body(2))
            assert counted.json() == plain.json()
            # it is nobody else's, and what was said with it is no answer to others
            assert await ask(body(2), proxy.url) == ("straight on", "leader")
            assert await ask(body(2), proxy.url_of(proxy.new_token())) == (
                "straight on",
                "replayed",
            )
            a_ledger(db).ended("one", claim.epoch, Outcome.REJECTED, "why", now=NOW, rng=RNG)
            async with asyncio.timeout(5):
                while len(proxy.plant.pipeline.notes):
                    await asyncio.sleep(0.005)

    with ledger_of(tmp_path) as db:
        asyncio.run(scenario(db))


def test_notes_outlive_the_proxy(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        _, token = an_attempt(db)
        steer(db, "go left")
        for turns, said in ((1, "left, then"), (2, "left, then"), (3, "left, then")):
            async with running(tmp_path, FLEET) as proxy, httpx.AsyncClient() as client:
                url = f"{proxy.url_of(token)}/v1/messages"
                answer = await client.post(url, json=body(turns))
                assert answer.json()["content"][0]["text"] == said
                answer = await client.post(url, json=body(turns + 1))
                assert answer.json()["content"][0]["text"] == "still left"

    with ledger_of(tmp_path) as db:
        asyncio.run(scenario(db))


def test_what_is_sent_on_is_the_agents_own_bytes_and_the_note(tmp_path: Path) -> None:
    """Streams of Chat are asked for their usage as well: both splices leave the rest alone."""

    async def scenario(db: Database) -> None:
        _, token = an_attempt(db)
        steer(db, "go left")
        with a_provider(SCRIPT) as provider:
            upstream = f'kind = "openai"\nurl = "{provider.url}"\nkeys = []\n'
            fleet = f"[proxy.upstreams.demo]\n{upstream}"
            asked = {
                "model": "m",
                "tools": [{"type": "function", "function": {"name": "bash"}}],
                "stream": True,
                "messages": [{"role": "user", "content": "drive"}],
            }
            raw = json.dumps(asked).encode()
            async with running(tmp_path, fleet) as proxy, httpx.AsyncClient() as client:
                url = f"{proxy.url_of(token)}/v1/chat/completions"
                assert "left, then" in (await client.post(url, content=raw)).text
            (sent,) = provider.asked
        told = json.loads(sent.text)
        assert told.pop("stream_options") == {"include_usage": True}
        said = told["messages"][0]["content"].removeprefix("drive")
        assert said == f"\n\n{worded('go left')}"
        told["messages"][0]["content"] = "drive"
        assert told == asked
        assert sent.text.endswith(
            raw.decode()[1:].replace("drive", f"drive{json.dumps(said)[1:-1]}")
        )

    with ledger_of(tmp_path) as db:
        asyncio.run(scenario(db))
