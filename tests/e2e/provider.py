"""Models for whole runs: a provider of the tests' own behind HTTP, and scripts for it to play."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import tomli_w

from fleet.core.traffic import Totals
from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.script import ScriptUpstream, parse
from fleet.proxy.script.serving import front_of
from fleet.proxy.wire import Reply
from fleet.store.traffic import open_calls, totals
from tests.e2e.conftest import Repository

FLEET_TOML = """\
[fleet]
agents = {agents}
agent = "{agent}"
retry_delay = "0.1s"

[gate]
commands = {commands}

[proxy.upstreams.model]
{upstream}
"""
SCRIPTED = 'kind = "script"\nscript = "model.toml"'
CHECKED = '["python3 check.py"]'
QUICK = '["true"]'


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came to the provider: with which key, about what."""

    key: str
    text: str  # of the body
    login: str = ""  # its Authorization
    at: float = 0.0  # monotonic


@dataclass(slots=True, kw_only=True)
class Provider:
    """What it has been asked is written by its own thread."""

    port: int = 0
    calls: Counter[str] = field(default_factory=Counter)  # by step: the script's own count
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def upstream(self, *keys: str) -> str:
        """For `FLEET_TOML`."""
        return f'kind = "anthropic"\nurl = "{self.url}"\nkeys = {json.dumps(list(keys))}'


@contextlib.contextmanager
def a_provider(script: str, *, keys: Sequence[str] = ()) -> Iterator[Provider]:
    """Plays a script as Anthropic would; with `keys`, only for those who show one of them."""
    provider, ready, stop = Provider(), threading.Event(), list[Callable[[], object]]()
    upstream = ScriptUpstream(parse(script.encode(), "model.toml"))
    provider.calls = upstream.calls
    play = front_of(upstream)

    def accept(exchange: Exchange) -> None:
        headers = dict(exchange.request.headers)
        shown = headers.get(b"x-api-key", b"").decode()
        login = headers.get(b"authorization", b"").decode()
        provider.asked.append(Asked(shown, exchange.request.body.decode(), login, time.monotonic()))
        if keys and shown not in keys:
            exchange.reply(Reply(401, ((b"content-type", b"application/json"),), b"{}"))
        else:
            play(exchange)

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        server = await Server.listen("127.0.0.1", 0, accept)
        provider.port = server.port
        stop.append(lambda: loop.call_soon_threadsafe(over.set))
        ready.set()
        await over.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="provider")
    thread.start()
    assert ready.wait(10)
    try:
        yield provider
    finally:
        stop[0]()
        thread.join()


def bash(command: str, **more: object) -> dict[str, object]:
    """A step in which the model calls its shell."""
    return {"tool": "bash", "input": {"command": command}, **more}


def says(text: str = "Done.", **more: object) -> dict[str, object]:
    return {"text": text, **more}


def script(
    tasks: Mapping[str, Sequence[Mapping[str, object]]], *rules: Mapping[str, object]
) -> str:
    """From the words that tell a task apart to what the model does, turn by turn."""
    listed = [
        {"name": words, "prompt": words, "steps": [dict(step) for step in steps]}
        for words, steps in tasks.items()
    ]
    told = {"rules": [dict(rule) for rule in rules], "tasks": listed}
    return tomli_w.dumps(told, multiline_strings=True)


def configure(
    repository: Repository,
    *,
    upstream: str,
    agents: int,
    commands: str = QUICK,
    agent: str = "mini",
    more: str = "",
) -> None:
    text = FLEET_TOML.format(agents=agents, agent=agent, commands=commands, upstream=upstream)
    repository.write("fleet.toml", text + more)
    repository.commit("configure")


@contextlib.contextmanager
def started(repository: Repository, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A fleet command in the background; when the test fails it is ended, and says why."""
    process = repository.start(*args)
    try:
        yield process
    except BaseException as error:
        process.terminate()
        said, _ = process.communicate(timeout=60)
        error.add_note(said)
        raise
    finally:
        assert process.stdout is not None
        process.stdout.close()
        process.wait()


def books(repository: Repository) -> Totals:
    """What the proxy wrote down, all in all."""
    with contextlib.closing(open_calls(repository.path / ".git/fleet/calls.db")) as db:
        return totals(db)


def transcripts(repository: Repository) -> dict[str, str]:
    """What each attempt's agent said, by its key."""
    found = (repository.path / ".git/fleet/attempts").glob("*/transcript.log")
    return {path.parent.name: path.read_text() for path in found}


def retries(repository: Repository) -> int:
    """How often an agent had to ask again."""
    return sum(text.count('"type": "retry"') for text in transcripts(repository).values())
