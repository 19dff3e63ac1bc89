from __future__ import annotations

import asyncio
import json
import logging
import stat
from pathlib import Path

import pytest

from fleet.core.errors import FleetError, StorageError
from fleet.proxy.recording import Recorder, Replayer, recorder
from fleet.proxy.recording.playback import Head, Step
from fleet.proxy.wire import Failure, Fault, Outgoing
from tests.proxy.recordings import ASKED, JSON, Staged, files, record, same, whole
from tests.proxy.script.asking import Heard, ask, hear, post, question, script

# -- there and back -----------------------------------------------------------------------------


def test_what_was_recorded_is_what_is_replayed(tmp_path: Path) -> None:
    toml = """
    [[rules]]
    when = 'busy'
    error = 529
    retry_after = 3
    [[rules]]
    when = 'cut'
    text = "so far"
    cut = "midway"
    [[rules]]
    when = 'nothing'
    cut = "before"
    [[rules]]
    when = 'garbage'
    garbage = true
    """
    words = ("hello", "busy", "cut", "nothing", "garbage")
    asked = [
        question(dialect, word, stream=stream)
        for dialect in ("anthropic", "chat", "responses", "gemini")
        for word in words
        for stream in (False, True)
    ]
    taking = Recorder(script(toml), tmp_path)
    live = ask(taking, *asked)
    taking.close()
    assert len(files(tmp_path)) == len(asked)
    replayer = Replayer(tmp_path)
    for _ in range(2):
        assert all(map(same, live, ask(replayer, *asked)))
    assert all(map(same, live, ask(Replayer(tmp_path), *reversed(asked))[::-1]))


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("answered", [False, True])
def test_every_fault_comes_back(tmp_path: Path, fault: Fault, answered: bool) -> None:
    failure = Failure(fault, "what went wrong: ü", answered=answered, reused=True)
    head = [Step(0, Head(200, JSON)), Step(0, b'{"half":')] if answered else []
    live = record(tmp_path, [*head, Step(0, failure)])[0]
    assert live.failure == failure
    assert same(live, ask(Replayer(tmp_path), ASKED)[0])


def test_the_nth_question_gets_the_nth_answer_and_the_last_one_stays(tmp_path: Path) -> None:
    record(tmp_path, whole(b"1"), whole(b"2", status=529), whole(b"3"))
    heard = ask(Replayer(tmp_path), *[ASKED] * 5)
    assert [one.body for one in heard] == [b"1", b"2", b"3", b"3", b"3"]
    assert [one.status for one in heard] == [200, 529, 200, 200, 200]


def test_answers_are_in_the_order_of_the_questions_not_of_their_ends(tmp_path: Path) -> None:
    slow, fast = whole(b"slow"), whole(b"fast")
    slow[0] = Step(0.1, Head(200, JSON))

    async def run() -> None:
        taking = Recorder(Staged(slow, fast), tmp_path)
        await asyncio.gather(hear(taking, ASKED), hear(taking, ASKED))
        taking.close()

    asyncio.run(run())
    assert [one.body for one in ask(Replayer(tmp_path), ASKED, ASKED)] == [b"slow", b"fast"]


def test_a_folder_may_be_added_to(tmp_path: Path) -> None:
    record(tmp_path, whole(b"1"))
    record(tmp_path, whole(b"2"))
    assert [one.body for one in ask(Replayer(tmp_path), ASKED, ASKED)] == [b"1", b"2"]


def test_bytes_that_are_no_text_come_back(tmp_path: Path) -> None:
    pieces = ("ü".encode()[:1], "ü".encode()[1:], bytes(range(256)), b"\r\n\0")
    binary = Outgoing("POST", "/v1/x", ((b"x-odd", b"\xff"),), b"\xff\xfe")
    live = record(tmp_path, whole(*pieces, headers=((b"x-odd", b"\xe9"),)), asked=[binary])[0]
    assert live.pieces == [*pieces]
    assert same(live, ask(Replayer(tmp_path), binary)[0])


def test_a_call_given_up_is_recorded_as_broken(tmp_path: Path) -> None:
    steps = [Step(0, Head(200, JSON)), Step(0, b"half"), Step(60, None)]

    async def run() -> None:
        taking = Recorder(Staged(steps, whole(b"later")), tmp_path)
        heard = Heard()
        sending = taking.send(ASKED, heard)
        await asyncio.sleep(0.02)
        sending.cancel()
        sending.cancel()
        await hear(taking, ASKED)
        assert heard.pieces == [b"half"] and not heard.over.done()
        taking.close()

    asyncio.run(run())
    given_up, later = ask(Replayer(tmp_path), ASKED, ASKED)
    assert given_up.body == b"half" and given_up.failure is not None
    assert given_up.failure.fault is Fault.RESET and given_up.failure.answered
    assert later.body == b"later"


def test_the_recorder_passes_pauses_on(tmp_path: Path) -> None:
    async def run() -> None:
        taking = Recorder(Staged(whole(b"1", b"2", b"3")), tmp_path)
        heard = Heard(lambda heard: sending.pause())
        sending = taking.send(ASKED, heard)
        await asyncio.sleep(0.02)
        assert heard.pieces == [b"1"]
        heard.on_data = lambda _: None
        sending.resume()
        await heard.over
        assert heard.pieces == [b"1", b"2", b"3"]
        taking.close()

    asyncio.run(run())


def test_speed_is_that_of_the_recording_or_none_at_all(tmp_path: Path) -> None:
    steps = [Step(0.1, Head(200, JSON)), Step(0.1, b"1"), Step(0.1, b"2"), Step(0, None)]
    record(tmp_path, steps)

    def seconds(speed: float) -> float:
        return ask(Replayer(tmp_path, speed=speed), ASKED)[0].times[-1]

    assert seconds(1.0) > 0.28
    assert 0.14 < min(seconds(2.0) for _ in range(3)) < 0.28
    assert min(seconds(0.0) for _ in range(3)) < 0.1


# -- files --------------------------------------------------------------------------------------


def test_a_file_is_private_and_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    record(folder, whole(b'event: a\ndata: {"text":"gr\xc3\xbc\xc3\x9fe"}\n\n'))
    (path,) = files(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = json.loads(path.read_bytes())
    assert found["request"]["target"] == "/v1/messages"
    assert found["answer"]["pieces"][0]["data"] == 'event: a\ndata: {"text":"grüße"}\n\n'
    assert "grüße" in path.read_text(encoding="utf-8")


CANARY = "canary-4f1d9c0b77"
KNOWN = "known-to-redact-alone"


def test_no_secret_is_in_any_file(tmp_path: Path) -> None:
    key = b"sk-live-" + CANARY.encode()
    names = (
        b"authorization",
        b"x-api-key",
        b"x-goog-api-key",
        b"api-key",
        b"cookie",
        b"set-cookie",
        b"proxy-authorization",
        b"proxy-anything",
    )
    headers = tuple((name, b"Bearer " + key) for name in names)
    body = json.dumps({"text": f"my key is {key.decode()}, and known is {KNOWN}"}).encode()
    target = f"/a/tok-{CANARY}/v1/x?alt=sse&key=q-{CANARY}&api_key={CANARY}"
    asked = Outgoing("POST", target, (*headers, (b"x-kept", b"kept")), body)
    half = len(body) - 12  # within a secret
    answer = whole(body[:half], body[half:], f"q-{CANARY} tok-{CANARY}".encode(), headers=headers)
    broken = [Step(0, Failure(Fault.CONNECT, f"no way to tok-{CANARY}"))]

    def redact(data: bytes) -> bytes:
        return data.replace(KNOWN.encode(), b"***")

    taking = Recorder(Staged(answer, broken), tmp_path, redact=redact)
    ask(taking, asked, asked)
    taking.close()
    found = files(tmp_path)
    assert len(found) == 2
    for path in found:
        raw = path.read_bytes()
        assert CANARY.encode() not in raw and KNOWN.encode() not in raw
        pieces = [piece["data"] for piece in json.loads(raw)["answer"]["pieces"]]
        assert CANARY not in "".join(pieces)
        assert ["x-kept", "kept"] in json.loads(raw)["request"]["headers"]
        assert "***" in json.loads(raw)["request"]["body"]
    heard = ask(Replayer(tmp_path, redact=redact), asked)[0]
    assert heard.status == 200 and b"[removed]" in heard.body and heard.headers == ()


def test_another_token_finds_the_same_recording(tmp_path: Path) -> None:
    def with_token(token: str) -> Outgoing:
        headers = ((b"x-api-key", token.encode()),)
        return post(f"/a/{token}/v1/messages", {"env": f"TOKEN={token}"}, *headers)

    record(tmp_path, whole(b"1"), asked=[with_token("token-number-1")])
    assert ask(Replayer(tmp_path), with_token("token-number-2"))[0].body == b"1"


def test_other_files_in_the_folder_are_let_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    record(tmp_path, whole(b"1"))
    (tmp_path / ".gone-000001.json.tmp").write_text("{")
    assert ask(Replayer(tmp_path), ASKED)[0].body == b"1"
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"format":1}', b"\xff", b'{"format":2}'])
def test_a_damaged_recording_is_said_to_be_one(tmp_path: Path, raw: bytes) -> None:
    record(tmp_path, whole(b"1"))
    files(tmp_path)[0].write_bytes(raw)
    heard = ask(Replayer(tmp_path), ASKED)[0]
    assert heard.status == 500 and files(tmp_path)[0].name in heard.json["error"]["message"]


def test_nothing_to_replay_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no recordings here"):
        Replayer(tmp_path)
    with pytest.raises(FleetError, match="cannot be read"):
        Replayer(tmp_path / "missing")


def test_a_folder_that_cannot_be_written_is_said_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    taking = Recorder(Staged(whole(b"1"), whole(b"2")), place)
    with caplog.at_level(logging.ERROR):
        assert [one.body for one in ask(taking, ASKED, ASKED)] == [b"1", b"2"]
        with pytest.raises((StorageError, OSError)):
            taking.close()
    assert len(caplog.records) == 1


def test_answers_that_pile_up_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "WAITING_BYTES", 100)
    taking = Recorder(Staged(whole(b"x" * 200)), tmp_path)
    assert ask(taking, ASKED)[0].body == b"x" * 200
    with pytest.raises(StorageError, match="falls behind"):
        taking.close()


def test_closing_a_recorder_nobody_used_is_nothing(tmp_path: Path) -> None:
    Recorder(Staged(), tmp_path / "none").close()
    assert not (tmp_path / "none").exists()


def test_a_replay_may_be_cancelled_before_it_begins(tmp_path: Path) -> None:
    record(tmp_path, whole(b"1"))

    async def run() -> int:
        heard = Heard()
        Replayer(tmp_path).send(ASKED, heard).cancel()
        await asyncio.sleep(0.05)
        return heard.status

    assert asyncio.run(run()) == 0
