"""Anthropic's Messages: `/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fleet.proxy.dialects import anthropic_form, lenient
from fleet.proxy.dialects.anthropic_meter import AnthropicMeter
from fleet.proxy.dialects.dialect import Asked, DialectName, Endpoint, Members
from fleet.proxy.wire import Headers, Reply, Trouble

_WORDS: dict[Trouble, tuple[int, str]] = {
    Trouble.BAD_REQUEST: (400, "invalid_request_error"),
    Trouble.UNAUTHORIZED: (401, "authentication_error"),
    Trouble.NOT_FOUND: (404, "not_found_error"),
    Trouble.TOO_LARGE: (413, "request_too_large"),
    Trouble.LIMITED: (429, "rate_limit_error"),
    Trouble.SPENT: (429, "billing_error"),
    Trouble.OVERLOADED: (529, "overloaded_error"),
    Trouble.TIMEOUT: (504, "timeout_error"),
    Trouble.UPSTREAM: (502, "api_error"),
    Trouble.INTERNAL: (500, "api_error"),
}

# Tools with a type run at the provider, except these: the client runs them, or (the search for
# tools) nothing but the request decides what they find.
_SHAREABLE = ("bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_")


class _Tool(msgspec.Struct):
    type: object = None


_tools = msgspec.json.Decoder(list[_Tool] | None)


class Anthropic:
    name = DialectName.ANTHROPIC

    def ask(self, path: str, query: str, members: Members) -> Asked:
        counting = path.endswith("/count_tokens")
        return Asked(
            endpoint=Endpoint.COUNT_TOKENS if counting else Endpoint.MESSAGES,
            model=lenient.model_of(members),
            stream=not counting and lenient.is_true(members, "stream"),
            max_output=lenient.count(lenient.value_of(members, "max_tokens")),
            deterministic=counting or lenient.value_of(members, "temperature") == 0,
            bypass=_bypass(members),
        )

    def meter(self, asked: Asked) -> AnthropicMeter:
        return AnthropicMeter(asked)

    def fold(self, events: Sequence[bytes]) -> bytes | None:
        return anthropic_form.fold(events)

    def unfold(self, body: bytes) -> tuple[bytes, ...] | None:
        return anthropic_form.unfold(body)

    def refusal(
        self,
        trouble: Trouble,
        message: str,
        *,
        request_id: str,
        retry_after_s: int | None = None,
        retry: bool | None = None,
    ) -> Reply:
        status, kind = _WORDS[trouble]
        headers: Headers = (
            (b"content-type", b"application/json"),
            (b"request-id", request_id.encode()),
            *lenient.when_to_retry(retry_after_s, retry),
        )
        error = {"type": kind, "message": message}
        return Reply(
            status,
            headers,
            lenient.dumps({"type": "error", "error": error, "request_id": request_id}),
        )

    def broken(self, message: str) -> bytes:
        error = {"type": "api_error", "message": message}
        return lenient.event("error", {"type": "error", "error": error})

    def late(self, body: bytes) -> bytes:
        error = lenient.members_of(body)
        return self.broken(lenient.shown(body)) if error is None else lenient.event("error", error)

    def keepalive(self, user_agent: str) -> bytes:
        """Claude Code's watchdog hears no pings: only a known name with an unknown type keeps it
        waiting. Other clients would stumble over that before `message_start`."""
        if user_agent.startswith("claude-cli/"):
            return lenient.event("message_delta", {"type": "keepalive"})
        return lenient.event("ping", {"type": "ping"})


def _bypass(members: Members) -> str:
    if lenient.given(members, "container"):
        return "container"
    if lenient.raw(members, "mcp_servers") not in (b"", b"null", b"[]"):
        return "server-tool"
    tools = members.get("tools")
    if tools is None:
        return ""
    try:
        kinds = [tool.type for tool in _tools.decode(tools) or ()]
    except (ValueError, RecursionError):
        return "server-tool"  # not readable: not known to be harmless
    return "" if all(_is_shareable(kind) for kind in kinds) else "server-tool"


def _is_shareable(kind: object) -> bool:
    return kind is None or kind == "custom" or lenient.text(kind).startswith(_SHAREABLE)
