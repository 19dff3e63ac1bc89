"""JSON from others: read without trust, written without loss.

Whatever is asked of a value that is not what it should be gets the answer "nothing": an empty
text, no members, 0. It is the provider who tells a client that its request is wrong.
"""

from __future__ import annotations

import json
import math

import msgspec

from fleet.proxy.dialects.dialect import Members
from fleet.proxy.wire import Headers

MOST_TOKENS = 1 << 32  # above it a count is nonsense
LONGEST_MODEL = 256  # characters of its name
CHARS_A_TOKEN = 4  # a floor for text and code in all current tokenizers

Object = dict[str, object]

_text = msgspec.json.Decoder(str)
_anything = msgspec.json.Decoder()


def loads(data: bytes | str) -> object:
    """Any JSON. ValueError if it is none. Half a surrogate pair passes: some streams cut there."""
    try:
        value: object = _anything.decode(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except ValueError:
        return _loads_slowly(data if isinstance(data, str) else data.decode())
    return value


def _loads_slowly(text: str) -> object:
    try:
        value: object = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("out of range")
    return value


def dumps(value: object) -> bytes:
    """Compact JSON of anything that `loads` gave."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):  # a huge integer, half a surrogate pair
        return json.dumps(value, separators=(",", ":")).encode()


def members_of(data: bytes | str) -> Object | None:
    """The members of an object; None for anything else."""
    try:
        value = loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def obj(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def arr(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """A number of tokens. What is negative, absurd or no number counts as none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= MOST_TOKENS else 0


def index(value: object) -> int:
    """A place in a list; -1 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


# -- top-level members of a request, as raw slices -------------------------------------------


def raw(members: Members, name: str) -> bytes:
    found = members.get(name)
    return b"" if found is None else bytes(found)


def given(members: Members, name: str) -> bool:
    """There, and not null."""
    return raw(members, name) not in (b"", b"null")


def is_true(members: Members, name: str) -> bool:
    return raw(members, name) == b"true"


def value_of(members: Members, name: str) -> object:
    """For small members only: all of it is decoded. None if it is not there or unreadable."""
    found = members.get(name)
    if found is None:
        return None
    try:
        return loads(bytes(found))
    except ValueError:
        return None


def text_of(members: Members, name: str) -> str:
    found = members.get(name)
    if found is None:
        return ""
    try:
        return _text.decode(found)
    except (ValueError, RecursionError):
        return ""


def model_of(members: Members) -> str:
    """Of a longer name the beginning: no upstream has it, and we do not remember megabytes."""
    return text_of(members, "model")[:LONGEST_MODEL]


def shown(body: bytes) -> str:
    """The beginning of an error's body that is no JSON."""
    return " ".join(body[:300].decode("utf-8", "replace").split())


def event(name: str, value: object) -> bytes:
    """A named event with its blank line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps(value))


def unnamed(value: object) -> bytes:
    return b"data: %b\n\n" % dumps(value)


def when_to_retry(retry_after_s: int | None, retry: bool | None) -> Headers:
    """Whole seconds: SDKs follow 1 to 60 of them and take others for none."""
    after = () if retry_after_s is None else ((b"retry-after", b"%d" % retry_after_s),)
    should = () if retry is None else ((b"x-should-retry", b"true" if retry else b"false"),)
    return (*after, *should)
