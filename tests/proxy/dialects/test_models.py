from __future__ import annotations

import json

from fleet.proxy.dialects import models
from fleet.proxy.dialects.models import Model
from tests.proxy.dialects.streams import packed

ANTHROPIC = packed(
    {
        "data": [
            {
                "type": "model",
                "id": "claude-test",
                "display_name": "Claude Test",
                "created_at": "2026-02-03T04:05:06Z",
            }
        ],
        "has_more": False,
    }
)
OPENAI = packed(
    {
        "object": "list",
        "data": [{"id": "gpt-test", "object": "model", "created": 1_700_000_000, "owned_by": "x"}],
    }
)
GEMINI = packed(
    {
        "models": [
            {
                "name": "models/gemini-test",
                "displayName": "Gemini Test",
                "inputTokenLimit": 1_000_000,
                "outputTokenLimit": 8192,
            }
        ]
    }
)
LLAMA = packed(
    {
        "models": [{"name": "local.gguf", "model": "local.gguf"}],
        "object": "list",
        "data": [{"id": "local.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 32_768}}],
    }
)
EVERYWHERE = (ANTHROPIC, OPENAI, GEMINI, LLAMA)


def test_lists_of_every_form_are_read() -> None:
    assert models.read(ANTHROPIC) == (
        Model(id="claude-test", display_name="Claude Test", created=1_770_091_506),
    )
    assert models.read(OPENAI) == (Model(id="gpt-test", created=1_700_000_000, owned_by="x"),)
    assert models.read(GEMINI) == (
        Model(
            id="gemini-test",
            display_name="Gemini Test",
            input_limit=1_000_000,
            output_limit=8192,
        ),
    )
    assert models.read(LLAMA) == (Model(id="local.gguf", owned_by="llamacpp", input_limit=32_768),)


def test_what_is_no_list_of_models_has_none() -> None:
    for body in (b"", b"[]", b"<html>", b'{"data":7}', b'{"data":[7,{"id":null}]}', b"{}"):
        assert models.read(body) == ()


def test_one_list_serves_clients_of_both() -> None:
    reply = models.reply("/v1/models", EVERYWHERE)
    said = json.loads(reply.body)
    assert reply.status == 200
    assert said["object"] == "list"
    assert said["has_more"] is False
    assert (said["first_id"], said["last_id"]) == ("claude-test", "local.gguf")
    for one in said["data"]:
        assert {"id", "object", "created", "owned_by"} <= set(one)
        assert {"type", "id", "display_name", "created_at"} <= set(one)
    assert said["data"][0]["created_at"] == "2026-02-03T04:05:06Z"
    assert said["data"][1]["display_name"] == "gpt-test"


def test_an_empty_list_is_a_list() -> None:
    said = json.loads(models.reply("/v1/models", ()).body)
    assert (said["data"], said["first_id"]) == ([], None)


def test_gemini_clients_get_their_own_form() -> None:
    said = json.loads(models.reply("/v1beta/models", EVERYWHERE).body)["models"]
    assert [one["name"] for one in said] == [
        "models/claude-test",
        "models/gpt-test",
        "models/gemini-test",
        "models/local.gguf",
    ]
    assert said[2]["inputTokenLimit"] == 1_000_000
    assert "generateContent" in said[2]["supportedGenerationMethods"]


def test_one_model_is_found_or_not() -> None:
    one = json.loads(models.reply("/v1/models/gpt-test", EVERYWHERE).body)
    assert (one["id"], one["object"], one["type"]) == ("gpt-test", "model", "model")
    theirs = json.loads(models.reply("/v1beta/models/gemini-test", EVERYWHERE).body)
    assert theirs["name"] == "models/gemini-test"
    for path in ("/v1/models/other", "/v1beta/models/other"):
        missing = models.reply(path, EVERYWHERE)
        assert missing.status == 404
        assert "other" in json.loads(missing.body)["error"]["message"]
