"""Which requests are the same one, said again in another run. Pure.

Everything counts but a short list of what clients make up anew each time: session and cache names,
ids of messages, how the usage of a stream is reported. Text is never trimmed, folded or reordered,
and ids of tool calls count: they come out of answers, and so out of the recording.
"""

from __future__ import annotations

import hashlib
from typing import cast

import msgspec

from fleet.proxy.dialects.dialect import Members
from fleet.proxy.dialects.lenient import Object, arr, dumps, loads, obj
from fleet.proxy.recording.scrub import plain_target
from fleet.proxy.wire import Headers

_LEFT_OUT = frozenset(
    {
        "client_metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "stream_options",
        "user",
    }
)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def digest(method: str, target: str, headers: Headers, body: bytes) -> str:
    """What a recording is found by. Headers do not count: they are mostly names of sessions."""
    parts = (method.encode(), plain_target(target).encode(), stable(body))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def stable(body: bytes, *, without: tuple[str, ...] = ()) -> bytes:
    """A body without what differs from run to run; as it is if it is no JSON object."""
    try:
        members = cast(Members, _members.decode(body))
    except (ValueError, RecursionError):
        return body
    kept: list[bytes] = []
    for name in sorted(members.keys() - _LEFT_OUT - set(without)):
        raw = bytes(members[name])
        kept += (name.encode(), b":", _thinned(name, raw), b"\n")
    return b"".join(kept)


def _thinned(name: str, raw: bytes) -> bytes:
    thin = {"metadata": _metadata, "input": _items, "contents": _contents}.get(name)
    if thin is None:
        return raw
    try:
        value = loads(raw)
    except ValueError:
        return raw
    return dumps(thin(value))


def _metadata(value: object) -> object:
    return _without(value, "user_id")


def _items(value: object) -> object:
    """Responses: the ids of items, never their `call_id`."""
    if not isinstance(value, list):
        return value
    return [_without(item, "id") for item in value]


def _contents(value: object) -> object:
    """Gemini: clients make up the ids of calls where the provider gave none."""
    return [{**obj(content), "parts": _parts(obj(content))} for content in arr(value)]


def _parts(content: Object) -> list[object]:
    found: list[object] = []
    for part in arr(content.get("parts")):
        members = dict(obj(part))
        for name in ("functionCall", "functionResponse"):
            if name in members:
                members[name] = _without(members[name], "id")
        found.append(members)
    return found


def _without(value: object, name: str) -> object:
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key != name}
