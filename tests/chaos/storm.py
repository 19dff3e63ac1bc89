"""Twenty-four agents of different clients, and providers that take far less than they ask.

    python -m tests.chaos.storm [--agents 24] [--turns 20] [--headers]

Two providers, each with a key that bears so many calls a second: a token bucket, and a 429 with a
`retry-after` for every call beyond it. Agents talk to them through one proxy as real clients do:
the Anthropic and the OpenAI SDK, raw streams as Claude Code and Codex send them, and `mini` as a
program of its own. It fails when an agent is told of a 429, when one does not finish, when a
provider sees a call before the time that it gave, or when all of it takes more than 10/9 of what a
perfect schedule would need.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import uvloop

from fleet.proxy.http.server import Server
from fleet.proxy.script import ScriptUpstream, parse
from fleet.proxy.script.serving import front_of
from fleet.proxy.wire import Headers, Outgoing, Sending, Sink, Upstream
from tests.chaos.proxy_process import ProxyProcess

ROOT = Path(__file__).parents[2]
FLEET = """
[proxy]
dedup = "off"
[proxy.upstreams.one]
kind = "anthropic"
url = "http://127.0.0.1:{port}"
[proxy.upstreams.other]
kind = "openai"
url = "http://127.0.0.1:{port}"
"""
SCRIPT = """
[[rules]]
when = "be done"
text = "All is done, as you wished."
delay = 0.3
pace = 0.01
"""
RATE, BURST = 8.0, 8  # calls a second, of each provider
UNDER_WAY_S = 0.1  # calls that left before the refusal had come
GOODPUT = 0.9
LAST_ANSWER_S = 0.4  # how long one takes
PATIENCE_S = 600.0


@dataclass
class Gate:
    """One provider's limit, as it keeps it itself."""

    clock: asyncio.AbstractEventLoop
    says_limits: bool
    level: float = BURST
    at: float = 0.0
    served: list[float] = field(default_factory=list)
    refused: int = 0
    early: int = 0  # calls that came although their time had been told
    told: float = -math.inf  # when
    until: float = -math.inf

    def admits(self) -> float:
        """0.0, or for how long not."""
        now = self.clock.time()
        self.level = min(float(BURST), self.level + (now - self.at) * RATE) if self.at else BURST
        self.at = now
        if self.told + UNDER_WAY_S < now < self.until - 0.001:
            self.early += 1
        if self.level >= 1:
            self.level -= 1
            self.served.append(now)
            return 0.0
        self.refused += 1
        after = (1 - self.level) / RATE
        if now >= self.until:
            self.told, self.until = now, now + after
        return after

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        if not self.says_limits:
            return ()
        limit, left = round(RATE * 60), math.floor(self.level)
        return (
            (b"x-ratelimit-limit-requests", b"%d" % limit),
            (b"x-ratelimit-remaining-requests", b"%d" % left),
        )


@dataclass
class Storm:
    gates: dict[str, Gate]
    finished: int = 0
    told: Counter[str] = field(default_factory=Counter)  # what agents heard but answers
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ideal_s: float = 0.0

    @property
    def goodput(self) -> float:
        return self.ideal_s / self.seconds

    def table(self) -> str:
        refused = {name: gate.refused for name, gate in self.gates.items()}
        served = {name: len(gate.served) for name, gate in self.gates.items()}
        return (
            f"{self.finished} agents finished in {self.seconds:.1f} s, a perfect schedule takes "
            f"{self.ideal_s:.1f} s: goodput {self.goodput:.1%}\n  served {served}, refused "
            f"{refused}, too early {sum(gate.early for gate in self.gates.values())}; agents were "
            f"told {dict(self.told) or 'nothing but answers'}"
            + "".join(f"\n  {fault}" for fault in self.faults)
        )


class Provider:
    """Both of them, on one port."""

    def __init__(self, *, says_limits: bool) -> None:
        clock = asyncio.get_running_loop()
        self.gates = {name: Gate(clock, says_limits) for name in ("one", "other")}
        self._upstream = Limited(ScriptUpstream(parse(SCRIPT.encode(), "model.toml")), self.gates)
        self.accept = front_of(self._upstream)


class Limited:
    """An `Upstream` behind the gates."""

    def __init__(self, upstream: Upstream, gates: dict[str, Gate]) -> None:
        self._upstream = upstream
        self._gates = gates

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        gate = self._gates["one" if "/messages" in outgoing.target else "other"]
        wait_s = gate.admits()
        said = gate.headers()
        if not wait_s:
            return self._upstream.send(outgoing, Adds(sink, said))
        kind = (b"content-type", b"application/json")
        sink.head(429, (kind, (b"retry-after", f"{wait_s:.3f}".encode()), *said))
        sink.data(b'{"error":{"message":"slow down"}}')
        sink.end()
        return Adds(sink, said)


class Adds:
    """A sink that says more in its head."""

    def __init__(self, sink: Sink, headers: Headers) -> None:
        self._headers = headers
        self._sink = sink
        self.data, self.end, self.failed = sink.data, sink.end, sink.failed

    def head(self, status: int, headers: Headers) -> None:
        self._sink.head(status, (*headers, *self._headers))

    def cancel(self) -> None:
        """It is answered already."""

    pause = resume = cancel


# -- agents ------------------------------------------------------------------------------------


@dataclass
class Agents:
    base: str  # without a token
    turns: int
    storm: Storm

    def url(self, token: str) -> str:
        return f"{self.base}/a/{token}"

    def prompt(self, number: int, turn: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"Agent {number}, turn {turn}: be done."}]

    async def by_anthropic(self, number: int, token: str) -> None:
        """The SDK as it comes, with its own two retries, half of it streamed."""
        async with anthropic.AsyncAnthropic(
            base_url=self.url(token), api_key="none", timeout=PATIENCE_S
        ) as client:
            for turn in range(self.turns):
                asked: Any = {
                    "model": "claude",
                    "max_tokens": 99,
                    "messages": self.prompt(number, turn),
                }
                if turn % 2:
                    await client.messages.create(**asked)
                else:
                    async with client.messages.stream(**asked) as stream:
                        await stream.get_final_message()

    async def by_openai(self, number: int, token: str) -> None:
        async with openai.AsyncOpenAI(
            base_url=f"{self.url(token)}/v1", api_key="none", timeout=PATIENCE_S
        ) as client:
            for turn in range(self.turns):
                asked: Any = {"model": "gpt", "messages": self.prompt(number, turn)}
                if turn % 2:
                    await client.chat.completions.create(**asked)
                else:
                    async for _ in await client.chat.completions.create(**asked, stream=True):
                        pass

    async def as_claude_code(self, number: int, token: str) -> None:
        """Streams; any refusal is the end of it; 300 s without an event are, too."""
        headers = {"user-agent": "claude-cli/2.1.197 (external, sdk-cli)"}
        for turn in range(self.turns):
            body = {"model": "claude", "max_tokens": 64_000, "stream": True}
            body["messages"] = self.prompt(number, turn)
            await self._stream(token, "/v1/messages?beta=true", headers, body, b"message_stop")

    async def as_codex(self, number: int, token: str) -> None:
        """Streams of Responses; it may not end without its last event."""
        headers = {"user-agent": "codex_exec/0.169.0", "originator": "codex_exec"}
        for turn in range(self.turns):
            body = {"model": "gpt", "stream": True, "store": False}
            body["input"] = [{"type": "message", **self.prompt(number, turn)[0]}]
            await self._stream(token, "/v1/responses", headers, body, b"response.completed")

    async def _stream(
        self, token: str, path: str, headers: dict[str, str], body: object, last: bytes
    ) -> None:
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(PATIENCE_S, read=300)) as client,
            client.stream("POST", self.url(token) + path, json=body, headers=headers) as answer,
        ):
            said = await answer.aread()
        if answer.status_code != 200 or last not in said:
            self.storm.told[f"{headers['user-agent'].partition('/')[0]} {answer.status_code}"] += 1

    async def by_mini(self, number: int, token: str) -> None:
        """A program of its own for every turn."""
        environ = {
            "PATH": os.environ["PATH"],
            "ANTHROPIC_BASE_URL": self.url(token),
            "ANTHROPIC_AUTH_TOKEN": token,
        }
        for turn in range(self.turns):
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "agents" / "mini.py"),
                "--model",
                "claude",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environ,
            )
            said, _ = await child.communicate(self.prompt(number, turn)[0]["content"].encode())
            self.storm.told["mini retry"] += said.count(b'"type": "retry"')
            if child.returncode:
                self.storm.told[f"mini exit {child.returncode}"] += 1


async def storm(folder: Path, *, agents: int, turns: int, says_limits: bool = False) -> Storm:
    provider = Provider(says_limits=says_limits)
    server = await Server.listen("127.0.0.1", 0, provider.accept)
    proxy = ProxyProcess(folder, server.port, agents, fleet_toml=FLEET)
    await proxy.start()
    found = Storm(provider.gates)
    crowd = Agents(proxy.address.url, turns, found)
    ways = (crowd.by_anthropic, crowd.by_openai, crowd.as_claude_code, crowd.as_codex)
    clock = asyncio.get_running_loop().time

    async def one(number: int, token: str) -> None:
        way = crowd.by_mini if number % 8 == 7 else ways[number % len(ways)]
        try:
            await way(number, token)
        except Exception as error:
            found.faults.append(f"{way.__name__} gave up: {error!r}"[:300])
        else:
            found.finished += 1

    try:
        began = clock()
        async with asyncio.TaskGroup() as group:
            for number, token in enumerate(proxy.tokens):
                group.create_task(one(number, token))
        found.seconds = clock() - began
    finally:
        await proxy.stop()
        await server.close()
    found.told = +found.told
    most = max(len(gate.served) for gate in provider.gates.values())
    found.ideal_s = max(0, most - BURST) / RATE + LAST_ANSWER_S
    found.faults += faults_of(found, agents, turns)
    return found


def faults_of(found: Storm, agents: int, turns: int) -> list[str]:
    """All that is wrong whatever the machine is busy with."""
    served = sum(len(gate.served) for gate in found.gates.values())
    checks = {
        f"only {found.finished} of {agents} agents finished": found.finished == agents,
        f"agents were told {dict(found.told)}": not found.told,
        "a provider saw calls too early": not any(gate.early for gate in found.gates.values()),
        f"{served} calls were served for {agents * turns} turns": served == agents * turns,
    }
    return [fault for fault, is_well in checks.items() if not is_well]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", type=int, default=24)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--headers", action="store_true", help="the providers say their limits")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(
            storm(
                Path(folder),
                agents=chosen.agents,
                turns=chosen.turns,
                says_limits=chosen.headers,
            )
        )
    sys.stdout.write(found.table() + "\n")
    return 1 if found.faults or found.goodput < GOODPUT else 0


if __name__ == "__main__":
    sys.exit(main())
