"""What providers say of their limits, in headers and in the bodies of refusals.

Anthropic: `anthropic-ratelimit-<family>-{limit,remaining,reset}` with RFC 3339 times, and for
subscriptions `anthropic-ratelimit-unified-*` with POSIX seconds. OpenAI and its kind:
`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` with lengths of time such as "6m0s".
Codex' subscriptions: `x-codex-*`. All: `retry-after` in seconds or as a date, `retry-after-ms`.
Gemini and OpenAI also say it in the body. What cannot be read says nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

from fleet.proxy.wire import Headers

LONGEST_S = 8 * 86_400.0  # a weekly window, and some more; what is longer is nonsense
SEARCHED = 4096  # bytes of a refusal's body
_PREFIXES = (b"anthropic-ratelimit-", b"x-ratelimit-", b"retry-after", b"x-codex-")
_LENGTH = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_UNITS_S = (86_400.0, 3600.0, 60.0, 1.0, 0.001)
_IN_BODY = re.compile(
    rb'"retryDelay" ?: ?"(?P<delay>[0-9.]+m?s)"'
    rb"|try again in (?P<again>(?:\d+h)?(?:\d+m(?!s))?(?:\d+(?:\.\d+)?m?s)?)"
    rb'|"resets_in_seconds" ?: ?(?P<seconds>\d+)'
    rb'|"resets_at" ?: ?(?P<at>\d{9,11})\b'
)
_USED_UP = re.compile(rb'"(?:type|code)" ?: ?"usage_limit_reached"')


class Family(StrEnum):
    """What is counted, within a minute unless the provider says otherwise."""

    REQUESTS = "requests"
    INPUT = "input-tokens"
    OUTPUT = "output-tokens"
    TOKENS = "tokens"  # of both kinds


def _names(form: str) -> tuple[bytes, bytes, bytes]:
    limit, left, reset = (form.replace("*", word) for word in ("limit", "remaining", "reset"))
    return limit.encode(), left.encode(), reset.encode()


_LEVELS = tuple(
    (family, _names(form))
    for family in Family
    for form in (f"x-ratelimit-*-{family}", f"anthropic-ratelimit-{family}-*")
)
_UNIFIED = b"anthropic-ratelimit-unified-"
_CODEX = (
    ("primary", b"x-codex-primary-used-percent", b"x-codex-primary-reset-"),
    ("secondary", b"x-codex-secondary-used-percent", b"x-codex-secondary-reset-"),
)


class Level(NamedTuple):
    limit: float | None
    remaining: float | None
    reset_s: float | None  # from now until it is full again


@dataclass(frozen=True, slots=True)
class Hints:
    levels: dict[Family, Level]
    retry_after_s: float | None = None
    window_s: float | None = None  # a subscription's window is used up, for so long
    window: str = ""  # which: "five_hour"


NOTHING = Hints({})


def read(headers: Headers, now: float) -> Hints:
    """`now`: POSIX seconds, for what is said as a date."""
    said = {name: value for name, value in headers if name.startswith(_PREFIXES)}
    if not said:
        return NOTHING
    levels = {}
    for family, (limit_name, left_name, reset_name) in _LEVELS:
        limit, left = said.get(limit_name), said.get(left_name)
        if limit is None and left is None:
            continue
        reset_s = _until(said.get(reset_name), now)
        levels[family] = Level(_number(limit), _number(left), reset_s)
    window_s, window = _window(said, now)
    return Hints(levels, _retry_after(said, now), window_s, window)


def in_body(body: bytes, now: float) -> tuple[float | None, bool]:
    """How long to wait as the body of a 429 says it, and whether a subscription is used up."""
    start = body[:SEARCHED]
    found = _IN_BODY.search(start)
    used_up = _USED_UP.search(start) is not None
    if found is None:
        return None, used_up
    if found["at"]:
        return _sane(float(found["at"]) - now), used_up
    if found["seconds"]:
        return _sane(float(found["seconds"])), used_up
    return _length((found["delay"] or found["again"] or b"").decode()), used_up


def _window(said: dict[bytes, bytes], now: float) -> tuple[float | None, str]:
    if said.get(_UNIFIED + b"status") == b"rejected":
        which = said.get(_UNIFIED + b"representative-claim", b"").decode("latin-1")
        return _until(said.get(_UNIFIED + b"reset"), now), which
    for name, percent, reset in _CODEX:
        used = _number(said.get(percent))
        if used is not None and used >= 100:
            at = said.get(reset + b"at") or said.get(reset + b"after-seconds")
            return _until(at, now), name
    return None, ""


def _retry_after(said: dict[bytes, bytes], now: float) -> float | None:
    ms = _number(said.get(b"retry-after-ms"))
    if ms is not None:
        return _sane(ms / 1000)
    return _until(said.get(b"retry-after"), now)


def _until(value: bytes | None, now: float) -> float | None:
    """Seconds from now: of a number, a POSIX time, a length of time, a date of either style."""
    if value is None:
        return None
    number = _number(value)
    if number is not None:
        return _sane(number - now if number > 1e8 else number)
    text = value.decode("latin-1").strip()
    length = _length(text)
    if length is not None:
        return length
    try:
        is_iso = text[:4].isdigit()
        at = datetime.fromisoformat(text) if is_iso else parsedate_to_datetime(text)
        return _sane(at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _length(text: str) -> float | None:
    found = _LENGTH.fullmatch(text.strip())
    if found is None or not text:
        return None
    parts = zip(found.groups(), _UNITS_S, strict=True)
    return _sane(sum(float(part) * unit for part, unit in parts if part))


def _number(value: bytes | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _sane(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds <= LONGEST_S else None
