"""What a provider answers beside conversations: models, counts of tokens, embeddings. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
import struct

from fleet.proxy.dialects.dialect import DialectName
from fleet.proxy.dialects.lenient import Object, arr, count, dumps, text
from fleet.proxy.script.speech import CREATED, estimate

DIMENSIONS = 64
MOST_DIMENSIONS = 4096


def models(ids: tuple[str, ...], dialect: DialectName) -> bytes:
    """Gemini's list, or one that clients of Anthropic and of OpenAI can both read."""
    if dialect is DialectName.GEMINI:
        return dumps({"models": [_gemini(name) for name in ids]})
    return dumps(
        {
            "object": "list",
            "data": [_model(name) for name in ids],
            "has_more": False,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
        }
    )


def model(name: str, dialect: DialectName) -> bytes:
    return dumps(_gemini(name) if dialect is DialectName.GEMINI else _model(name))


def tokens(size: int, dialect: DialectName) -> bytes:
    if dialect is DialectName.GEMINI:
        return dumps({"totalTokens": estimate(size)})
    return dumps({"input_tokens": estimate(size)})


def embeddings(body: Object) -> bytes:
    """A vector of length 1 for each text, made of its hash: equal texts have equal vectors."""
    given = body.get("input")
    items: list[object] = [given] if isinstance(given, str) else arr(given)
    if items and isinstance(items[0], int):
        items = [given]  # one text, as tokens
    size = min(count(body.get("dimensions")) or DIMENSIONS, MOST_DIMENSIONS)
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": number, "embedding": _vector(item, size, packed=packed)}
        for number, item in enumerate(items)
    ]
    used = sum(estimate(len(dumps(item))) for item in items)
    usage = {"prompt_tokens": used, "total_tokens": used}
    model = text(body.get("model"))
    return dumps({"object": "list", "data": data, "model": model, "usage": usage})


def _vector(item: object, size: int, *, packed: bool) -> str | list[float]:
    raw = hashlib.shake_256(dumps(item)).digest(size)
    numbers = [byte - 127.5 for byte in raw]
    length = math.sqrt(sum(number * number for number in numbers))
    packing = f"<{size}f"
    floats = struct.pack(packing, *(number / length for number in numbers))
    if packed:
        return base64.b64encode(floats).decode()
    return list(struct.unpack(packing, floats))


def _model(name: str) -> Object:
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "display_name": name,
        "created": CREATED,
        "created_at": "2023-11-14T22:13:20Z",
        "owned_by": "script",
    }


def _gemini(name: str) -> Object:
    return {
        "name": f"models/{name}",
        "version": "1",
        "displayName": name,
        "inputTokenLimit": 1_000_000,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
