from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fleet.proxy.recording import Replayer
from fleet.proxy.recording.likeness import digest, stable
from fleet.proxy.wire import Headers, header
from tests.proxy.recordings import record, whole
from tests.proxy.script.asking import Json, ask, post

# -- what is the same question ------------------------------------------------------------------


def like(left: Json, right: Json, target: str = "/v1/x") -> bool:
    one, other = (post(target, body) for body in (left, right))
    return digest("POST", target, (), one.body) == digest("POST", target, (), other.body)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"metadata": {"user_id": "a"}}, {"metadata": {"user_id": "b"}}),
        ({"prompt_cache_key": "a"}, {"prompt_cache_key": "b"}),
        ({"client_metadata": {"a": 1}}, {}),
        ({"user": "a", "safety_identifier": "x"}, {"user": "b"}),
        ({"stream_options": {"include_usage": True}}, {}),
        (
            {"input": [{"id": "msg_1", "role": "user"}]},
            {"input": [{"id": "msg_2", "role": "user"}]},
        ),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (
            {"contents": [{"parts": [{"functionCall": {"id": "1", "name": "f"}}]}]},
            {"contents": [{"parts": [{"functionCall": {"id": "2", "name": "f"}}]}]},
        ),
    ],
)
def test_what_differs_from_run_to_run_does_not_count(left: Json, right: Json) -> None:
    more = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert like({**left, **more}, {**right, **more})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"metadata": {"other": "a"}}, {"metadata": {"other": "b"}}),
        ({"input": [{"call_id": "1"}]}, {"input": [{"call_id": "2"}]}),
        ({"stream": True}, {"stream": False}),
        ({"messages": ["Hi"]}, {"messages": ["hi"]}),
        ({"messages": ["a", "b"]}, {"messages": ["b", "a"]}),
        ({"unknown": 1}, {}),
        ({"messages": [{"id": "1"}]}, {"messages": [{"id": "2"}]}),
    ],
)
def test_everything_else_does(left: Json, right: Json) -> None:
    assert not like(left, right)


def test_method_and_path_count_and_a_token_in_the_path_does_not() -> None:
    def of(method: str, target: str) -> str:
        return digest(method, target, (), b"{}")

    assert of("POST", "/a/token-1/v1/x?key=1&b=2") == of("POST", "/a/token-2/v1/x?key=2&b=2")
    assert of("POST", "/a/token-1/v1/x") == of("POST", "/v1/x")
    assert len({of("POST", "/v1/x"), of("GET", "/v1/x"), of("POST", "/v1/x?b=2")}) == 3


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b"{", b'{"metadata":5,"input":5}'])
def test_a_body_of_any_kind_has_a_digest(body: bytes) -> None:
    assert len(digest("POST", "/", (), body)) == 32
    assert stable(body) or not body


def test_a_question_nobody_recorded_is_named(tmp_path: Path) -> None:
    record(tmp_path, whole(b"1"))
    replayer = Replayer(tmp_path)
    asked = post("/a/secret-token/v1/other?key=secret-key", {"model": "m"})
    heard = ask(replayer, asked)[0]
    message = heard.json["error"]["message"]
    assert heard.status == 404 and replayer.misses == 1
    assert "POST /v1/other" in message and digest("POST", "/v1/other?key=", (), b"") != ""
    assert "secret" not in message
    assert header(heard.headers, b"x-should-retry") == b"false"


def test_another_digest_may_decide_what_is_the_same(tmp_path: Path) -> None:
    first, second = (post("/v1/x", {"at": number, "it": "same"}) for number in (1, 2))
    record(tmp_path, whole(b"1"), asked=[first])
    assert ask(Replayer(tmp_path), second)[0].status == 404

    def only_it(method: str, target: str, headers: Headers, body: bytes) -> str:
        return hashlib.sha256(str(json.loads(body)["it"]).encode()).hexdigest()

    assert ask(Replayer(tmp_path, digest=only_it), second)[0].body == b"1"
