from __future__ import annotations

import asyncio

import pytest

from fleet.proxy.sse import Splitter
from fleet.proxy.wire import Fault, header
from tests.proxy.script.asking import Heard, Json, ask, question, script
from tests.proxy.script.folding import said

DIALECTS = ("anthropic", "chat", "responses", "gemini")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@every_dialect
def test_an_error_is_said_in_the_callers_words(dialect: str) -> None:
    toml = '[[rules]]\nerror = 429\nmessage = "slow {who}"\nretry_after = 2.5\nwhen = "(?P<who>me)"'
    for stream in (False, True):
        heard = ask(script(toml), question(dialect, "me", stream=stream))[0]
        assert (heard.status, heard.kind) == (429, b"application/json")
        assert header(heard.headers, b"retry-after") == b"3"
        assert header(heard.headers, b"retry-after-ms") == b"2500"
        error = heard.json["error"]
        assert error["message"] == "slow me"
        kind = {"gemini": "status", "chat": "code", "responses": "code"}.get(dialect, "type")
        usual = {"anthropic": "rate_limit_error", "gemini": "RESOURCE_EXHAUSTED"}
        assert error[kind] == usual.get(dialect, "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropic_names_its_errors(status: int, kind: str) -> None:
    heard = ask(script(f"[[rules]]\nerror = {status}"), question("anthropic"))[0]
    assert heard.status == status and heard.json["type"] == "error"
    assert heard.json["error"]["type"] == kind
    assert heard.json["request_id"].encode() == header(heard.headers, b"request-id")


@every_dialect
def test_a_script_may_name_the_error(dialect: str) -> None:
    toml = '[[rules]]\nerror = 429\nerror_type = "insufficient_quota"'
    error: Json = ask(script(toml), question(dialect))[0].json["error"]
    assert "insufficient_quota" in (error.get("type"), error.get("status"))
    if dialect in ("chat", "responses"):
        assert error["code"] == "insufficient_quota"


@every_dialect
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_before_says_nothing(dialect: str, stream: bool) -> None:
    heard = ask(script('[[rules]]\ncut = "before"'), question(dialect, stream=stream))[0]
    assert heard.status == 0 and heard.failure is not None
    assert (heard.failure.fault, heard.failure.answered) == (Fault.RESET, False)


@every_dialect
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_after_the_headers_has_no_body(dialect: str, stream: bool) -> None:
    heard = ask(script('[[rules]]\ncut = "after-headers"'), question(dialect, stream=stream))[0]
    assert (heard.status, heard.body) == (200, b"") and heard.failure is not None
    assert (heard.failure.fault, heard.failure.answered) == (Fault.RESET, True)


@every_dialect
def test_a_cut_midway_tears_an_event_after_some_content(dialect: str) -> None:
    asked = question(dialect, stream=True)
    toml = '[[rules]]\ntext = "a word"\n'
    whole, cut = ask(script(toml), asked)[0], ask(script(toml + 'cut = "midway"'), asked)[0]
    assert cut.failure is not None and cut.failure.answered
    assert whole.body.startswith(cut.body) and b"a word" in cut.body
    splitter = Splitter()
    assert splitter.feed(cut.body) and splitter.rest


@every_dialect
def test_a_cut_midway_leaves_half_of_a_json_body(dialect: str) -> None:
    toml = '[[rules]]\ntext = "a word"\n'
    whole = ask(script(toml), question(dialect))[0]
    cut = ask(script(toml + 'cut = "midway"'), question(dialect))[0]
    assert cut.failure is not None and 0 < len(cut.body) < len(whole.body)
    assert whole.body.startswith(cut.body)


@every_dialect
@pytest.mark.parametrize("stream", [False, True])
def test_garbage_is_neither_json_nor_events(dialect: str, stream: bool) -> None:
    heard = ask(script("[[rules]]\ngarbage = true"), question(dialect, stream=stream))[0]
    assert heard.status == 200 and heard.failure is None
    assert heard.kind.startswith(b"text/event-stream" if stream else b"application/json")
    with pytest.raises(ValueError):
        _ = heard.json
    assert not Splitter().feed(heard.body)


def test_a_delay_comes_before_the_first_byte_and_the_pace_between_events() -> None:
    toml = '[[rules]]\ntext = "abcd"\npieces = 4\ndelay = 0.1\npace = 0.02'
    heard = ask(script(toml), question("anthropic", stream=True))[0]
    head, first, *rest = heard.times
    assert head >= 0.1
    gaps = [after - before for before, after in zip([first, *rest], rest, strict=False)]
    assert len(gaps) == 9 and all(gap >= 0.015 for gap in gaps)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stall_is_a_silence_in_the_middle_of_a_whole_answer(stream: bool) -> None:
    toml = '[[rules]]\ntext = "abcd"\npieces = 4\nstall = 0.2'
    heard = ask(script(toml), question("chat", stream=stream))[0]
    gaps = [after - before for before, after in zip(heard.times, heard.times[1:], strict=False)]
    assert max(gaps) >= 0.18 and sum(gap > 0.1 for gap in gaps) == 1
    assert heard.failure is None
    body = heard.body if stream else said("chat", heard.json).text.encode()
    assert body.endswith(b"[DONE]\n\n") or body == b"abcd"


def test_a_stall_may_end_in_a_cut() -> None:
    toml = '[[rules]]\ntext = "abcd"\nstall = 0.1\ncut = "midway"'

    async def run() -> float:
        heard = Heard()
        script(toml).send(question("chat", stream=True), heard)
        await heard.over
        assert heard.failure is not None
        return heard.loop.time() - heard.began - heard.times[-1]

    assert asyncio.run(run()) >= 0.08


def test_a_cancelled_call_says_no_more() -> None:
    toml = '[[rules]]\ntext = "abcd"\npace = 0.01'

    async def run() -> list[bytes]:
        heard = Heard(lambda heard: sending.cancel() if len(heard.pieces) == 2 else None)
        sending = script(toml).send(question("anthropic", stream=True), heard)
        await asyncio.sleep(0.1)
        assert not heard.over.done()
        return heard.pieces

    assert len(asyncio.run(run())) == 2


def test_a_call_cancelled_at_once_says_nothing() -> None:
    async def run() -> int:
        heard = Heard()
        script("").send(question("anthropic"), heard).cancel()
        await asyncio.sleep(0.02)
        return heard.status

    assert asyncio.run(run()) == 0


def test_a_paused_call_waits_and_goes_on_where_it_was() -> None:
    asked = question("anthropic", stream=True)
    whole = ask(script(""), asked)[0].body

    async def run() -> bytes:
        heard = Heard(lambda heard: sending.pause())
        sending = script("").send(asked, heard)
        for number in range(1, 8):
            await asyncio.sleep(0.005)
            assert len(heard.pieces) == number
            sending.resume()
        await heard.over
        return heard.body

    assert asyncio.run(run()) == whole


def test_a_pause_taken_back_at_once_repeats_nothing() -> None:
    asked = question("anthropic", stream=True)
    whole = ask(script(""), asked)[0].body

    async def run() -> bytes:
        def blink(heard: Heard) -> None:
            sending.pause()
            sending.resume()

        heard = Heard(blink)
        sending = script("").send(asked, heard)
        await heard.over
        return heard.body

    assert asyncio.run(run()) == whole
