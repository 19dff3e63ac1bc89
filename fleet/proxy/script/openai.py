"""What OpenAI's two conversations share: texts in parts, and words for errors. Pure."""

from __future__ import annotations

from fleet.proxy.dialects.lenient import arr, dumps, obj, text

_KINDS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
    503: ("server_error", "server_is_overloaded"),
}


def text_in(content: object) -> str:
    """A content that is a text, or a list of parts of which some are."""
    if isinstance(content, str):
        return content
    return "\n".join(said for part in arr(content) if (said := text(obj(part).get("text"))))


def error(status: int, kind: str, message: str) -> bytes:
    usual = ("server_error", None) if status >= 500 else ("invalid_request_error", None)
    named, code = (kind, kind) if kind else _KINDS.get(status, usual)
    return dumps({"error": {"message": message, "type": named, "param": None, "code": code}})
