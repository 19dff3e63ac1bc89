"""What OpenAI's two formats share: errors, and how usage is counted."""

from __future__ import annotations

from fleet.core.usage import Usage
from fleet.proxy.dialects.lenient import Object, count, dumps, obj, when_to_retry
from fleet.proxy.wire import Headers, Reply, Trouble

_WORDS: dict[Trouble, tuple[int, str, str | None]] = {
    Trouble.BAD_REQUEST: (400, "invalid_request_error", None),
    Trouble.UNAUTHORIZED: (401, "invalid_request_error", "invalid_api_key"),
    Trouble.NOT_FOUND: (404, "invalid_request_error", "not_found"),
    Trouble.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    Trouble.LIMITED: (429, "rate_limit_error", "rate_limit_exceeded"),
    Trouble.SPENT: (429, "insufficient_quota", "insufficient_quota"),
    Trouble.OVERLOADED: (503, "server_error", "server_is_overloaded"),
    Trouble.TIMEOUT: (504, "server_error", "timeout"),
    Trouble.UPSTREAM: (502, "server_error", "upstream_error"),
    Trouble.INTERNAL: (500, "server_error", "internal_error"),
}


def refusal(
    trouble: Trouble,
    message: str,
    request_id: str,
    retry_after_s: int | None,
    retry: bool | None,
) -> Reply:
    status, kind, code = _WORDS[trouble]
    headers: Headers = (
        (b"content-type", b"application/json"),
        (b"x-request-id", request_id.encode()),
        *when_to_retry(retry_after_s, retry),
    )
    return Reply(status, headers, dumps({"error": error(message, kind, code)}))


def error(message: str, kind: str, code: str | None) -> Object:
    return {"message": message, "type": kind, "param": None, "code": code}


def counted(counts: Object, *, given: str, made: str) -> Usage:
    """Usage under the names of either format. What was read from a cache or written to one is part
    of the input there; reasoning is part of the output, but for servers that leave it out."""
    of_input, of_output = obj(counts.get(f"{given}_details")), obj(counts.get(f"{made}_details"))
    total = count(counts.get(given))
    read = count(of_input.get("cached_tokens")) or count(counts.get("prompt_cache_hit_tokens"))
    read = min(read, total)
    written = min(count(of_input.get("cache_write_tokens")), total - read)
    kept_long = count(obj(of_input.get("cache_write_tokens_details")).get("ttl_12h_tokens"))
    long = min(kept_long, written)
    output, reasoning = count(counts.get(made)), count(of_output.get("reasoning_tokens"))
    return Usage(
        input=total - read - written,
        cache_read=read,
        cache_write_5m=written - long,
        cache_write_1h=long,
        output=output if reasoning <= output else output + reasoning,
        reasoning=reasoning,
    )
