"""What is not a conversation: models, counts, embeddings, probes, and what is nowhere."""

from __future__ import annotations

import base64
import struct

import pytest

from fleet.proxy.wire import Outgoing
from tests.proxy.script.asking import ask, post, question, script

MODELS = 'models = ["claude-script", "gpt-script"]'
ANTHROPIC = ((b"anthropic-version", b"2023-06-01"),)


def test_one_list_of_models_serves_anthropic_and_openai() -> None:
    upstream = script(MODELS)
    for headers in ((), ANTHROPIC):
        heard = ask(upstream, Outgoing("GET", "/v1/models?limit=1000", headers))[0]
        assert heard.json["object"] == "list" and heard.json["has_more"] is False
        assert [model["id"] for model in heard.json["data"]] == ["claude-script", "gpt-script"]
        assert heard.json["data"][0]["type"] == heard.json["data"][0]["object"] == "model"
    assert upstream.calls == {"models": 2}


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/v1beta/models", ()), ("/v1/models", ((b"x-goog-api-client", b"sdk"),))],
)
def test_gemini_has_its_own_list(target: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    heard = ask(script(MODELS), Outgoing("GET", target, headers))[0]
    assert [model["name"] for model in heard.json["models"]] == [
        "models/claude-script",
        "models/gpt-script",
    ]


def test_one_model_may_be_asked_for() -> None:
    known, unknown, gemini = ask(
        script(MODELS),
        Outgoing("GET", "/v1/models/gpt-script", ()),
        Outgoing("GET", "/v1/models/other", ()),
        Outgoing("GET", "/v1beta/models/gpt-script", ()),
    )
    assert known.json["id"] == "gpt-script" and gemini.json["name"] == "models/gpt-script"
    assert unknown.status == 404 and "'other'" in unknown.json["error"]["message"]


def test_without_a_list_there_is_one_model() -> None:
    heard = ask(script(""), Outgoing("GET", "/v1/models", ()))[0]
    assert [model["id"] for model in heard.json["data"]] == ["script"]


def test_tokens_are_counted_as_they_are_charged() -> None:
    asked = question("anthropic", "x" * 1000)
    counted = Outgoing("POST", "/v1/messages/count_tokens?beta=true", (), asked.body)
    count, answer = ask(script(""), counted, asked)
    assert count.json == {"input_tokens": answer.json["usage"]["input_tokens"]}
    gemini = post("/v1beta/models/m:countTokens", {"contents": []})
    assert ask(script(""), gemini)[0].json["totalTokens"] >= 1


def test_rules_do_not_speak_of_counts() -> None:
    upstream = script("[[rules]]\nerror = 500")
    counted = post("/v1/messages/count_tokens", {"messages": []})
    assert ask(upstream, counted)[0].status == 200
    assert upstream.calls == {"count_tokens": 1}


def test_equal_texts_have_equal_embeddings_of_length_one() -> None:
    asked = {"model": "e", "input": ["a", "b", "a"], "dimensions": 8}
    packed = {**asked, "encoding_format": "base64"}
    plain, coded, single = ask(
        script(""),
        post("/v1/embeddings", asked),
        post("/v1/embeddings", packed),
        post("/v1/embeddings", {"model": "e", "input": "a"}),
    )
    vectors = [item["embedding"] for item in plain.json["data"]]
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(number**2 for number in vectors[0]) == pytest.approx(1, abs=1e-5)
    unpacked = struct.unpack("<8f", base64.b64decode(coded.json["data"][0]["embedding"]))
    assert list(unpacked) == vectors[0]
    assert len(single.json["data"][0]["embedding"]) == 64
    tokens = post("/v1/embeddings", {"model": "e", "input": [1, 2, 3]})
    assert len(ask(script(""), tokens)[0].json["data"]) == 1


@pytest.mark.parametrize("path", ["/v1/messages", "/messages", "/v1/messages/"])
def test_the_version_in_a_path_is_optional(path: str) -> None:
    assert ask(script(""), post(path, {"messages": []}))[0].json["type"] == "message"


def test_a_probe_is_answered() -> None:
    heard = ask(script(""), Outgoing("HEAD", "/", ()))[0]
    assert (heard.status, heard.body) == (200, b"")


def test_an_unknown_path_is_named() -> None:
    upstream = script("")
    for method, target in (("POST", "/v1/other?key=secret"), ("GET", "/v1/messages")):
        heard = ask(upstream, Outgoing(method, target, (), b"{}"))[0]
        message = heard.json["error"]["message"]
        assert heard.status == 404 and target.partition("?")[0] in message
        assert "secret" not in message
    assert upstream.calls == {"nowhere": 2}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a":', b"\xff", b'{"a":1}x', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    for target in ("/v1/messages", "/v1/responses", "/v1beta/models/m:generateContent"):
        heard = ask(script(""), Outgoing("POST", target, (), body))[0]
        assert heard.status == 400 and "JSON object" in heard.json["error"]["message"]
