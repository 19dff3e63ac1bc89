"""Streams that wait long for their first word, as each client needs to be kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx

from tests.proxy.running import running

FLEET = """
[proxy]
hold_back = "0.2s"
[proxy.upstreams.model]
kind = "script"
script = "model.toml"
"""
SCRIPT = '[[rules]]\ntext = "At last."\ndelay = 0.9\n'
MESSAGES = {"model": "m", "max_tokens": 9, "stream": True}
USER = [{"role": "user", "content": "hi"}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
ASKED: dict[str, tuple[str, str, dict[str, object], bytes]] = {
    "claude": (
        "claude-cli/2.1.197 (external, sdk-cli)",
        "/v1/messages?beta=true",
        {**MESSAGES, "messages": USER},
        b'event: message_delta\ndata: {"type":"keepalive"}\n\n',
    ),
    "anthropic": (
        "AsyncAnthropic/Python 2.12",
        "/v1/messages",
        {**MESSAGES, "messages": USER},
        b'event: ping\ndata: {"type":"ping"}\n\n',
    ),
    "codex": (
        "codex_exec/0.169.0",
        "/v1/responses",
        {"model": "m", "stream": True, "store": False, "input": "hi"},
        b'event: keepalive\ndata: {"type":"keepalive"}\n\n',
    ),
    "chat": (
        "AsyncOpenAI/Python 3.54",
        "/v1/chat/completions",
        {"model": "m", "stream": True, "messages": USER},
        b": keepalive\n\n",
    ),
    "gemini": (
        "GeminiCLI/0.61",
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        dict(GEMINI),
        b"\n\n",
    ),
}


def test_each_is_kept_with_what_it_takes_for_life_and_then_gets_its_answer(tmp_path: Path) -> None:
    top = tmp_path / "repository"
    top.mkdir()
    (top / "model.toml").write_text(SCRIPT)

    async def scenario() -> None:
        async with running(tmp_path, FLEET) as proxy, httpx.AsyncClient(timeout=20) as client:

            async def ask(name: str) -> bytes:
                agent, path, body, _ = ASKED[name]
                headers = {"user-agent": agent, "x-fleet-dedup": "off"}
                answer = await client.post(
                    proxy.url + path, content=json.dumps(body), headers=headers
                )
                assert answer.status_code == 200
                assert answer.headers["content-type"].startswith("text/event-stream")
                return answer.content

            for name, said in zip(ASKED, await asyncio.gather(*map(ask, ASKED)), strict=True):
                filler = ASKED[name][3]
                assert said.startswith(filler), name
                assert b"At last." in said.removeprefix(filler), name

    asyncio.run(scenario())
