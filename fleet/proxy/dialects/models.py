"""Lists of models, from the form of any provider into one that clients of all of them can read.

`/v1/models` is asked by clients of Anthropic and of OpenAI alike, so its answer has the members of
both. Gemini's list has a path and a form of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fleet.proxy.dialects.lenient import Object, arr, count, dumps, members_of, obj, text
from fleet.proxy.wire import Reply

_JSON = ((b"content-type", b"application/json"),)
_GEMINI_VERBS = ("generateContent", "countTokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    id: str
    display_name: str = ""
    created: int = 0  # unix seconds; 0: not said
    owned_by: str = ""
    input_limit: int = 0  # tokens; 0: not said
    output_limit: int = 0


def read(body: bytes) -> tuple[Model, ...]:
    """Of a list or of one model; nothing of what cannot be read. An id comes once."""
    members = members_of(body)
    if members is None:
        return ()
    listed = arr(members.get("data")) or arr(members.get("models")) or [members]
    found = {model.id: model for model in map(_model, map(obj, listed)) if model.id}
    return tuple(found.values())


def _model(one: Object) -> Model:
    name = text(one.get("id")) or text(one.get("name")) or text(one.get("model"))
    meta = obj(one.get("meta"))  # of llama.cpp
    return Model(
        id=name.removeprefix("models/"),
        display_name=text(one.get("display_name")) or text(one.get("displayName")),
        created=count(one.get("created")) or _seconds(text(one.get("created_at"))),
        owned_by=text(one.get("owned_by")),
        input_limit=count(meta.get("n_ctx"))
        or count(meta.get("n_ctx_train"))
        or count(one.get("max_input_tokens"))
        or count(one.get("inputTokenLimit")),
        output_limit=count(one.get("max_tokens")) or count(one.get("outputTokenLimit")),
    )


def reply(path: str, bodies: Sequence[bytes]) -> Reply:
    """To `/v1/models`, `/v1beta/models` or one model below, out of what the providers gave."""
    models = {model.id: model for body in bodies for model in read(body)}
    of_gemini = path.startswith("/v1beta/")
    _, _, name = path.partition("/models/")
    if not name:
        listed = tuple(models.values())
        return Reply(200, _JSON, gemini(listed) if of_gemini else union(listed))
    model = models.get(name)
    if model is not None:
        return Reply(200, _JSON, dumps(_gemini_one(model) if of_gemini else _one(model)))
    what = f"there is no model {name!r}"
    if of_gemini:
        error: Object = {"code": 404, "message": what, "status": "NOT_FOUND"}
        return Reply(404, _JSON, dumps({"error": error}))
    error = {"message": what, "type": "not_found_error", "param": None, "code": "model_not_found"}
    return Reply(404, _JSON, dumps({"type": "error", "error": error}))


def union(models: Sequence[Model]) -> bytes:
    return dumps(
        {
            "object": "list",
            "data": [_one(model) for model in models],
            "has_more": False,
            "first_id": models[0].id if models else None,
            "last_id": models[-1].id if models else None,
        }
    )


def gemini(models: Sequence[Model]) -> bytes:
    return dumps({"models": [_gemini_one(model) for model in models]})


def _one(model: Model) -> Object:
    limits = {"max_input_tokens": model.input_limit, "max_tokens": model.output_limit}
    return {
        "id": model.id,
        "object": "model",
        "type": "model",
        "display_name": model.display_name or model.id,
        "created": model.created,
        "created_at": _moment(model.created),
        "owned_by": model.owned_by or "system",
        **{name: limit for name, limit in limits.items() if limit},
    }


def _gemini_one(model: Model) -> Object:
    limits = {"inputTokenLimit": model.input_limit, "outputTokenLimit": model.output_limit}
    return {
        "name": f"models/{model.id}",
        "displayName": model.display_name or model.id,
        **{name: limit for name, limit in limits.items() if limit},
        "supportedGenerationMethods": list(_GEMINI_VERBS),
    }


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"


def _seconds(moment: str) -> int:
    try:
        when = datetime.fromisoformat(moment)
    except ValueError:
        return 0
    return max(int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()), 0)
