"""Asking an upstream as an agent would, and what is heard of the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from fleet.proxy.script import ScriptUpstream, parse
from fleet.proxy.wire import Failure, Headers, Outgoing, Sending, Upstream, header

Json = dict[str, Any]

PATHS = {
    "anthropic": "/v1/messages?beta=true",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
}


class Heard:
    """A sink that remembers, and when. After `end` or `failed` nothing may come."""

    def __init__(self, on_data: Callable[[Heard], None] = lambda _: None) -> None:
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self.loop.create_future()
        self.began = self.loop.time()
        self.status = 0
        self.headers: Headers = ()
        self.pieces: list[bytes] = []
        self.times: list[float] = []
        self.failure: Failure | None = None
        self.on_data = on_data

    def head(self, status: int, headers: Headers) -> None:
        assert not self.status and not self.over.done()
        self.status, self.headers = status, headers
        self.times.append(self.loop.time() - self.began)

    def data(self, data: bytes) -> None:
        assert self.status and not self.over.done()
        self.pieces.append(data)
        self.times.append(self.loop.time() - self.began)
        self.on_data(self)

    def end(self) -> None:
        assert self.status
        self.over.set_result(None)

    def failed(self, failure: Failure) -> None:
        self.failure = failure
        self.over.set_result(None)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Json:
        return dict(json.loads(self.body))

    @property
    def kind(self) -> bytes:
        return header(self.headers, b"content-type")

    @property
    def events(self) -> list[Json]:
        return list(events_of(self.body))


def events_of(stream: bytes) -> Iterator[Json]:
    """Each event as one that wants to be strict reads it; the `event` line must agree."""
    assert stream.endswith(b"\n\n")
    for block in stream.decode().removesuffix("\n\n").split("\n\n"):
        *names, data = block.split("\n")
        assert data.startswith("data: ")
        if data == "data: [DONE]":
            continue
        event = json.loads(data.removeprefix("data: "))
        assert names in ([], [f"event: {event.get('type')}"])
        yield event


async def hear(upstream: Upstream, outgoing: Outgoing) -> Heard:
    heard = Heard()
    sending: Sending = upstream.send(outgoing, heard)
    assert not heard.status, "nothing may be told from within send"
    async with asyncio.timeout(5):
        await heard.over
    sending.cancel()
    return heard


def post(target: str, body: Json, *headers: tuple[bytes, bytes]) -> Outgoing:
    return Outgoing("POST", target, headers, json.dumps(body).encode())


def script(toml: str) -> ScriptUpstream:
    return ScriptUpstream(parse(toml.encode(), "model.toml"))


def ask(upstream: Upstream, *outgoing: Outgoing) -> list[Heard]:
    """One after the other."""

    async def all_of_them() -> list[Heard]:
        return [await hear(upstream, one) for one in outgoing]

    return asyncio.run(all_of_them())


# -- the same question in every dialect ---------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"command": {"type": "string"}},
    "required": ["command"],
}


def question(
    dialect: str,
    prompt: str = "hello",
    *,
    history: tuple[tuple[str, str], ...] = (),
    stream: bool = False,
    tools: bool = True,
    model: str = "script",
    **more: object,
) -> Outgoing:
    """`history`: pairs of a command that was called for and what it printed."""
    maker = {"anthropic": _anthropic, "chat": _chat, "responses": _responses, "gemini": _gemini}
    body: Json = maker[dialect](prompt, history, tools)
    if dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return post(f"/v1beta/models/{model}:{verb}", {**body, **more})
    return post(PATHS[dialect], {"model": model, "stream": stream, **body, **more})


def _anthropic(prompt: str, history: tuple[tuple[str, str], ...], tools: bool) -> Json:
    messages: list[Json] = [{"role": "user", "content": prompt}]
    for number, (command, printed) in enumerate(history):
        use = {
            "type": "tool_use",
            "id": f"t{number}",
            "name": "Bash",
            "input": {"command": command},
        }
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": printed}
        messages.append({"role": "assistant", "content": [use]})
        messages.append({"role": "user", "content": [result]})
    offered = [{"name": "Read"}, {"name": "Bash", "input_schema": SCHEMA}] if tools else []
    return {"max_tokens": 1000, "messages": messages, "tools": offered}


def _chat(prompt: str, history: tuple[tuple[str, str], ...], tools: bool) -> Json:
    messages: list[Json] = [
        {"role": "system", "content": "You are careful."},
        {"role": "user", "content": [{"type": "text", "text": prompt}]},
    ]
    for number, (command, printed) in enumerate(history):
        function = {"name": "run_shell_command", "arguments": json.dumps({"command": command})}
        call = {"id": f"c{number}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": printed})
    offer: Json = {"name": "run_shell_command", "parameters": SCHEMA}
    offered = [{"type": "function", "function": offer}] if tools else []
    return {"messages": messages, "tools": offered}


def _responses(prompt: str, history: tuple[tuple[str, str], ...], tools: bool) -> Json:
    items: list[Json] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "x"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<cwd>"}]},
        {"role": "user", "content": [{"type": "input_text", "text": prompt}]},
    ]
    for number, (command, printed) in enumerate(history):
        call = {"type": "function_call", "id": f"fc{number}", "call_id": f"c{number}"}
        items.append({**call, "name": "exec_command", "arguments": json.dumps({"cmd": command})})
        output = {"type": "function_call_output", "call_id": f"c{number}", "output": printed}
        items.append(output)
    schema = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}
    offered = [{"type": "function", "name": "exec_command", "parameters": schema}] if tools else []
    return {"input": items, "tools": offered, "store": False}


def _gemini(prompt: str, history: tuple[tuple[str, str], ...], tools: bool) -> Json:
    contents: list[Json] = [{"role": "user", "parts": [{"text": "<setup>"}, {"text": prompt}]}]
    for command, printed in history:
        call = {"name": "run_shell_command", "args": {"command": command}}
        answer = {"name": "run_shell_command", "response": {"output": printed}}
        contents.append({"role": "model", "parts": [{"functionCall": call}]})
        contents.append({"role": "user", "parts": [{"functionResponse": answer}]})
    schema = {
        "type": "OBJECT",
        "properties": {"command": {"type": "STRING"}, "background": {"type": "BOOLEAN"}},
        "required": ["command", "background"],
    }
    function = {"name": "run_shell_command", "parameters": schema}
    return {"contents": contents, "tools": [{"functionDeclarations": [function]}] if tools else []}
