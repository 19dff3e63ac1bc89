"""Official SDKs on two ways to one scripted model: straight to it, and through the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic import DefaultAsyncHttpxClient as PlainOfAnthropic
from openai import AsyncOpenAI
from openai import DefaultAsyncHttpxClient as PlainOfOpenAI

from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.script import ScriptUpstream, parse
from fleet.proxy.script.serving import front_of
from tests.proxy.running import Running, running

Json = dict[str, Any]  # what SDKs take as keywords, and what their objects dump
Seen = tuple[str, Json]  # an object of an SDK: its class, and all of it

SCRIPTED = '[proxy]\ntries = 1\n[proxy.upstreams.model]\nkind = "script"\nscript = "model.toml"\n'
REMOTE = """
[proxy.upstreams.one]
kind = "anthropic"
url = "http://127.0.0.1:{port}"
[proxy.upstreams.two]
kind = "openai"
url = "http://127.0.0.1:{port}/v1"
"""
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
TOOLS: dict[str, Json] = {
    "messages": {"name": "bash", "input_schema": SCHEMA},
    "chat": {"type": "function", "function": {"name": "bash", "parameters": SCHEMA}},
    "responses": {"type": "function", "name": "bash", "parameters": SCHEMA, "strict": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The SDKs of somebody who was told one base URL."""

    anthropic: AsyncAnthropic
    openai: AsyncOpenAI

    def to(self, url: str, key: str = "none", retries: int = 0) -> Way:
        """The same connections and settings, to somewhere else."""
        return Way(
            anthropic=self.anthropic.with_options(base_url=url, api_key=key, max_retries=retries),
            openai=self.openai.with_options(base_url=f"{url}/v1", api_key=key, max_retries=retries),
        )

    def api(self, name: str) -> Any:
        found = {
            "messages": self.anthropic.messages,
            "beta": self.anthropic.beta.messages,
            "chat": self.openai.chat.completions,
            "responses": self.openai.responses,
        }
        return found[name]

    async def ask(self, name: str, **asked: object) -> Any:
        return await self.api(name).create(**asked)

    async def events(self, name: str, **asked: object) -> list[Any]:
        return [event async for event in await self.ask(name, stream=True, **asked)]

    async def told(self, name: str, **asked: object) -> tuple[str, Any]:
        """What became of a request in the proxy, and its answer: all events, if it streams."""
        raw = await self.api(name).with_raw_response.create(**asked)
        answer = raw.parse()
        if inspect.isawaitable(answer):  # in one of the two SDKs
            answer = await answer
        if asked.get("stream"):
            answer = [event async for event in answer]
        return raw.headers["x-fleet-dedup"], answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    direct: Way
    proxied: Way
    proxy: Running
    gate: Gate

    async def asking(self, number: int) -> None:
        """Until so many requests wait in the proxy for an answer."""
        async with asyncio.timeout(10):
            while self.proxy.plant.pipeline.rooms.inference.occupancy < number:
                await asyncio.sleep(0.001)

    def way(self, url: str, key: str = "none", retries: int = 0) -> Way:
        """One more."""
        return self.direct.to(url, key, retries)

    def other(self) -> Way:
        """Through the proxy, for another agent."""
        return self.way(self.proxy.url_of(self.proxy.new_token()))


class Gate:
    """Before the provider: while it is shut, calls wait."""

    def __init__(self, accept: Callable[[Exchange], None]) -> None:
        self.held = 0
        self._accept = accept
        self._waiting: list[Exchange] | None = None

    def __call__(self, exchange: Exchange) -> None:
        if self._waiting is None:
            self._accept(exchange)
        else:
            self.held += 1
            self._waiting.append(exchange)

    def shut(self) -> None:
        self._waiting = []

    def open(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for exchange in waiting:
            self._accept(exchange)


def on_both_ways(
    folder: Path, script: str, scenario: Callable[[Ways], Awaitable[None]], fleet: str = SCRIPTED
) -> None:
    """With `REMOTE` the proxy asks the very provider that is asked without it."""

    async def run() -> None:
        async with _ways(folder, script, fleet) as both:
            await scenario(both)

    with pytest.MonkeyPatch.context() as patch:
        for name in tuple(os.environ):
            if name.startswith(("ANTHROPIC_", "OPENAI_")):  # which the SDKs would heed
                patch.delenv(name)
        asyncio.run(run())


@contextlib.asynccontextmanager
async def _ways(folder: Path, script: str, fleet: str) -> AsyncIterator[Ways]:
    (folder / "repository").mkdir()
    (folder / "repository" / "model.toml").write_text(script)
    gate = Gate(front_of(ScriptUpstream(parse(script.encode(), "model.toml"))))
    provider = await Server.listen("127.0.0.1", 0, gate)
    try:
        async with (
            running(folder, fleet.format(port=provider.port)) as proxy,
            # No TLS here: reading all certificates would take longer than most of the tests.
            AsyncAnthropic(
                api_key="none", http_client=PlainOfAnthropic(verify=False)
            ) as of_anthropic,
            AsyncOpenAI(api_key="none", http_client=PlainOfOpenAI(verify=False)) as of_openai,
        ):
            anywhere = Way(anthropic=of_anthropic, openai=of_openai)
            direct = anywhere.to(f"http://127.0.0.1:{provider.port}")
            yield Ways(direct=direct, proxied=direct.to(proxy.url), proxy=proxy, gate=gate)
    finally:
        await provider.close()


def asked(name: str, text: str, **more: object) -> Json:
    """The keywords of one question."""
    if name == "responses":
        return {"model": "demo", "input": text, **more}
    most = {} if name == "chat" else {"max_tokens": 1000}
    return {"model": "demo", "messages": [{"role": "user", "content": text}], **most, **more}


def seen(one: Any) -> Seen:
    return type(one).__name__, one.model_dump()
