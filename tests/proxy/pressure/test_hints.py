from __future__ import annotations

import pytest

from fleet.proxy.pressure import hints
from fleet.proxy.pressure.hints import Family, Level
from fleet.proxy.wire import Headers

NOW = 1_750_000_000.0  # 2025-06-15 15:06:40 UTC


def headers(**said: str) -> Headers:
    return tuple((name.replace("_", "-").encode(), value.encode()) for name, value in said.items())


def test_answers_without_a_word_about_limits_cost_nothing_and_say_nothing() -> None:
    assert hints.read(headers(content_type="application/json"), NOW) is hints.NOTHING


def test_anthropics_families() -> None:
    found = hints.read(
        headers(
            anthropic_ratelimit_requests_limit="50",
            anthropic_ratelimit_requests_remaining="49",
            anthropic_ratelimit_requests_reset="2025-06-15T15:06:52Z",
            anthropic_ratelimit_input_tokens_limit="30000",
            anthropic_ratelimit_input_tokens_remaining="12000",
            anthropic_ratelimit_output_tokens_limit="8000",
            anthropic_ratelimit_output_tokens_remaining="8000",
            anthropic_ratelimit_tokens_limit="38000",
            anthropic_ratelimit_tokens_remaining="20000",
        ),
        NOW,
    )
    assert found.levels[Family.REQUESTS] == Level(50, 49, 12)
    assert found.levels[Family.INPUT] == Level(30000, 12000, None)
    assert set(found.levels) == set(Family)


def test_openais_families_with_lengths_of_time() -> None:
    found = hints.read(
        headers(
            x_ratelimit_limit_requests="500",
            x_ratelimit_remaining_requests="499",
            x_ratelimit_reset_requests="120ms",
            x_ratelimit_limit_tokens="30000",
            x_ratelimit_remaining_tokens="0",
            x_ratelimit_reset_tokens="6m0s",
        ),
        NOW,
    )
    assert found.levels == {
        Family.REQUESTS: Level(500, 499, 0.12),
        Family.TOKENS: Level(30000, 0, 360),
    }


def test_a_subscription_that_is_used_up_says_until_when() -> None:
    found = hints.read(
        headers(
            anthropic_ratelimit_unified_status="rejected",
            anthropic_ratelimit_unified_reset=str(int(NOW) + 600),
            anthropic_ratelimit_unified_representative_claim="five_hour",
        ),
        NOW,
    )
    assert (found.window_s, found.window) == (600, "five_hour")
    warned = headers(
        anthropic_ratelimit_unified_status="allowed_warning",
        anthropic_ratelimit_unified_reset=str(int(NOW) + 600),
    )
    assert hints.read(warned, NOW).window_s is None
    codex = headers(x_codex_primary_used_percent="100", x_codex_primary_reset_after_seconds="90")
    assert hints.read(codex, NOW).window_s == 90


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"retry_after": "120"}, 120),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "Sun, 15 Jun 2025 15:07:40 GMT"}, 60),
        ({"retry_after": "Sun, 15 Jun 2025 15:00:00 GMT"}, 0),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "99999999"}, None),
        ({"retry_after": "nan"}, None),
    ],
)
def test_retry_after_in_every_form(said: dict[str, str], seconds: float | None) -> None:
    assert hints.read(headers(**said), NOW).retry_after_s == seconds


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"message":"Rate limit. Please try again in 1.25s."}}', (1.25, False)),
        (b'{"error":{"message":"try again in 6m0s"}}', (360, False)),
        (b'{"error":{"message":"try again in 340ms"}}', (0.34, False)),
        (b'{"error":{"details":[{"retryDelay": "34s"}]}}', (34, False)),
        (b'{"error":{"type":"usage_limit_reached","resets_in_seconds":600}}', (600, True)),
        (b'{"error":{"type":"usage_limit_reached","resets_at":1750000300}}', (300, True)),
        (b'{"error":{"message":"no"}}', (None, False)),
        (b"\xff\x00", (None, False)),
    ],
)
def test_what_a_refusals_body_says(body: bytes, expected: tuple[float | None, bool]) -> None:
    assert hints.in_body(body, NOW) == expected
