"""The official SDKs see the same objects, events and errors with the proxy as without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from fleet.store.traffic import totals
from tests.proxy.sdk_sides import (
    REMOTE,
    SCRIPTED,
    TOOLS,
    Json,
    Way,
    Ways,
    asked,
    on_both_ways,
    seen,
)
from tests.proxy.sdk_talk import talk

SCRIPT = """
models = ["demo", "other"]
[[rules]]
when = "reason"
thinking = "It is asked for a reason, so there has to be one."
text = "There is a reason."
[[rules]]
when = "list and look"
text = "Both at once."
tools = [
  { tool = "bash", input = { command = "ls -l" } },
  { tool = "bash", input = { command = 'echo "ü\\u2028"' } },
]
[[rules]]
when = "too long"
text = "It goes on and"
stop = "max_tokens"
[[rules]]
when = "cached"
text = "Known."
usage = { input = 11, output = 7, cache_read = 2000 }
[[rules]]
when = "^hi"
text = "Hello, this is long enough to come in pieces: naïve, “quoted”, 🙂 and \\\\n."
[[tasks]]
prompt = "make (?P<what>[a-z]+) pass"
steps = [
  { text = "First I look.", tool = "bash", input = { command = "pytest {what}" } },
  { tools = [
    { tool = "bash", input = { command = "cat a.py" } },
    { tool = "bash", input = { command = "cat b.py" } },
  ] },
  { text = "All of {what} passes." },
]
"""
FORMS = (False, True)  # asked for as one body, as a stream
APIS = ("messages", "beta", "chat", "responses")
TEXTS = ("hi", "a reason, please", "list and look", "too long", "cached")
each_api = pytest.mark.parametrize("name", ["messages", "chat", "responses"])


def questions() -> Iterator[tuple[str, Json]]:
    for name in APIS:
        tool = TOOLS["messages" if name == "beta" else name]
        more: Json = {"betas": ["context-1m-2025-08-07"]} if name == "beta" else {}
        for text in TEXTS:
            yield name, asked(name, text, **more, tools=[tool])
    yield "responses", asked("responses", "hi", store=False)
    yield "chat", asked("chat", "hi", stream_options=openai.omit, n=1, seed=7)


either_provider = pytest.mark.parametrize("fleet", [SCRIPTED, REMOTE], ids=["script", "http"])


@either_provider
def test_whole_answers_are_the_same_objects(tmp_path: Path, fleet: str) -> None:
    async def scenario(ways: Ways) -> None:
        for name, ask in questions():
            direct = await ways.direct.ask(name, **ask)
            proxied = await ways.proxied.ask(name, **ask)
            assert seen(proxied) == seen(direct)
            assert proxied._request_id == direct._request_id
            assert direct.usage is not None

    on_both_ways(tmp_path, SCRIPT, scenario, fleet)


@either_provider
def test_streams_are_the_same_events(tmp_path: Path, fleet: str) -> None:
    async def scenario(ways: Ways) -> None:
        for name, ask in questions():
            direct = await ways.direct.events(name, **ask)
            proxied = await ways.proxied.events(name, **ask)
            assert [seen(event) for event in proxied] == [seen(event) for event in direct]
            assert len(direct) > 2

    on_both_ways(tmp_path, SCRIPT, scenario, fleet)


@each_api
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_conversations_with_tools_are_the_same(tmp_path: Path, name: str, stream: bool) -> None:
    async def scenario(ways: Ways) -> None:
        prompt = "please make tests pass"
        turns, said = await talk(ways.direct, name, prompt, stream=stream)
        assert await talk(ways.proxied, name, prompt, stream=stream) == (turns, said)
        commands = ["$pytest tests", "$cat a.py", "$cat b.py"]
        assert said == ["First I look.", *commands, "All of tests passes."]
        assert len(turns) == 3

    on_both_ways(tmp_path, SCRIPT, scenario)


def test_what_the_sdks_are_told_was_used_is_what_is_written_down(tmp_path: Path) -> None:
    async def scenario(ways: Ways) -> None:
        for name in ("messages", "chat", "responses"):
            await ways.proxied.ask(name, **asked(name, "cached"))
            await ways.proxied.events(name, **asked(name, "cached too"))
        message = await ways.direct.ask("messages", **asked("messages", "cached"))
        db = ways.proxy.calls_db()
        used = totals(db).usage
        db.close()
        told = message.usage
        assert (told.input_tokens, told.output_tokens) == (11, 7)
        assert (used.input, used.output) == (6 * 11, 6 * 7)
        assert used.cache_read == 6 * told.cache_read_input_tokens == 6 * 2000

    on_both_ways(tmp_path, SCRIPT, scenario)


@pytest.mark.parametrize("wanted", [True, False, None], ids=["asked", "declined", "not-asked"])
def test_the_usage_chunk_of_chat_comes_to_who_asked_for_it(
    tmp_path: Path, wanted: bool | None
) -> None:
    async def scenario(ways: Ways) -> None:
        more: Json = {} if wanted is None else {"stream_options": {"include_usage": wanted}}
        ask = asked("chat", "hi", **more)
        direct = await ways.direct.events("chat", **ask)
        proxied = await ways.proxied.events("chat", **ask)
        assert [seen(chunk) for chunk in proxied] == [seen(chunk) for chunk in direct]
        assert [chunk for chunk in proxied if chunk.usage] == (proxied[-1:] if wanted else [])
        # Who shares that call gets its usage chunk by its own wish, not by the first one's.
        other = ways.other()
        turned: Json = {} if wanted else {"stream_options": {"include_usage": True}}
        said, shared = await other.told("chat", **asked("chat", "hi", stream=True, **turned))
        assert said == "replayed"
        assert [seen(chunk) for chunk in shared] == [
            seen(chunk)
            for chunk in await ways.direct.events("chat", **asked("chat", "hi", **turned))
        ]
        db = ways.proxy.calls_db()
        assert totals(db).usage.output == totals(db).saved.output > 0
        db.close()

    on_both_ways(tmp_path, SCRIPT, scenario)


def test_equal_questions_are_one_call_and_the_same_answer_in_every_form(tmp_path: Path) -> None:
    async def led(ways: Ways, name: str, text: str, *, leads: bool) -> None:
        """`leads`: whether the call itself is made as a stream."""
        more: Json = {"store": False} if name == "responses" else {}
        ask = asked(name, f"{text}, for {leads}", **more, tools=[TOOLS[name]])
        whole = seen(await ways.direct.ask(name, **ask))
        events = await ways.direct.events(name, **ask)
        ways.gate.shut()
        leader = asyncio.ensure_future(ways.proxied.told(name, **ask, stream=leads))
        await ways.asking(1)
        joining = [ways.other().told(name, **ask, stream=form) for form in FORMS]
        joined = asyncio.gather(*joining)
        await ways.asking(3)
        ways.gate.open()
        told = [await leader, *await joined]
        told += [await ways.other().told(name, **ask, stream=form) for form in FORMS]
        assert [said for said, _ in told] == ["leader", *["joined"] * 2, *["replayed"] * 2]
        for (_, answer), stream in zip(told, (leads, *FORMS, *FORMS), strict=True):
            if not stream:
                assert seen(answer) == whole
            elif leads:
                assert [seen(event) for event in answer] == [seen(event) for event in events]
            else:  # cut in other pieces than the provider would
                assert _text(name, answer) == _text(name, events) != ""

    async def scenario(ways: Ways) -> None:
        for name in ("messages", "chat", "responses"):
            for leads in FORMS:
                await led(ways, name, "hi", leads=leads)
                await led(ways, name, "list and look", leads=leads)
        assert ways.gate.held == 12

    on_both_ways(tmp_path, SCRIPT, scenario, REMOTE)


def _text(name: str, events: list[Any]) -> str:
    """All that is said, arguments of tools included."""
    if name == "messages":
        deltas = [event.delta for event in events if event.type == "content_block_delta"]
        return "".join(getattr(delta, "text", "") or delta.partial_json for delta in deltas)
    if name == "chat":
        deltas = [chunk.choices[0].delta for chunk in events]
        calls = [call.function.arguments for delta in deltas for call in delta.tool_calls or ()]
        return "".join([*(delta.content or "" for delta in deltas), *calls])
    return "".join(event.delta for event in events if event.type.endswith(".delta"))


def test_counts_embeddings_and_models_are_the_same_objects(tmp_path: Path) -> None:
    async def beside(way: Way) -> list[Any]:
        of_anthropic, of_openai = way.anthropic, way.openai
        count = asked("messages", "count me", tools=[TOOLS["messages"]])
        del count["max_tokens"]
        return [
            seen(await of_anthropic.messages.count_tokens(**count)),
            seen(await of_anthropic.beta.messages.count_tokens(**count, betas=["a-beta"])),
            seen(await of_openai.embeddings.create(model="demo", input=["a", "b"])),
            seen(await of_openai.embeddings.create(model="demo", input="a", dimensions=8)),
            seen(await of_anthropic.models.list(limit=1000)),
            [seen(model) async for model in of_anthropic.models.list()],
            seen(await of_anthropic.models.retrieve("other")),
            seen(await of_openai.models.list()),
            seen(await of_openai.models.retrieve("demo")),
        ]

    async def scenario(ways: Ways) -> None:
        direct = await beside(ways.direct)
        assert await beside(ways.proxied) == direct
        assert await beside(ways.other()) == direct  # kept by now
        assert len(direct[5]) == 2
        for way in (ways.direct, ways.proxied):
            with pytest.raises(anthropic.NotFoundError):
                await way.anthropic.models.retrieve("nobody")
            with pytest.raises(openai.NotFoundError):
                await way.openai.models.retrieve("nobody")

    on_both_ways(tmp_path, SCRIPT, scenario)
