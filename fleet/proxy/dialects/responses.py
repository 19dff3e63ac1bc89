"""OpenAI's Responses: `/v1/responses`, which Codex speaks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fleet.proxy.dialects import lenient, openai, responses_form
from fleet.proxy.dialects.dialect import Asked, DialectName, Endpoint, Members
from fleet.proxy.dialects.responses_meter import ResponsesMeter
from fleet.proxy.wire import Reply, Trouble

# Tools with no side at the provider: the client runs them, or (the search for tools) nothing but
# the request decides what they find. What is not listed acts there, or nobody knows.
_SHAREABLE = frozenset(
    {None, "function", "custom", "namespace", "local_shell", "apply_patch", "tool_search"}
)


class _Tool(msgspec.Struct):
    type: object = None
    environment: object = None


_tools = msgspec.json.Decoder(list[_Tool] | None)


class Responses:
    name = DialectName.RESPONSES

    def ask(self, path: str, query: str, members: Members) -> Asked:
        return Asked(
            endpoint=Endpoint.RESPONSES,
            model=lenient.model_of(members),
            stream=lenient.is_true(members, "stream"),
            max_output=lenient.count(lenient.value_of(members, "max_output_tokens")),
            deterministic=lenient.value_of(members, "temperature") == 0,
            bypass=_bypass(members),
        )

    def meter(self, asked: Asked) -> ResponsesMeter:
        return ResponsesMeter(asked)

    def fold(self, events: Sequence[bytes]) -> bytes | None:
        return responses_form.fold(events)

    def unfold(self, body: bytes) -> tuple[bytes, ...] | None:
        return responses_form.unfold(body)

    def refusal(
        self,
        trouble: Trouble,
        message: str,
        *,
        request_id: str,
        retry_after_s: int | None = None,
        retry: bool | None = None,
    ) -> Reply:
        return openai.refusal(trouble, message, request_id, retry_after_s, retry)

    def broken(self, message: str) -> bytes:
        """Codex ignores it and sends the whole request again, as after any cut."""
        said = {"code": "server_error", "message": message, "param": None, "sequence_number": 0}
        return lenient.event("error", {"type": "error", **said})

    def late(self, body: bytes) -> bytes:
        """As the failed response that clients take for final or not by its code."""
        said = lenient.obj((lenient.members_of(body) or {}).get("error"))
        code = lenient.text(said.get("code")) or lenient.text(said.get("type")) or "server_error"
        message = lenient.text(said.get("message")) or lenient.shown(body)
        failed = {"object": "response", "id": "resp_failed", "status": "failed", "output": []}
        response = {**failed, "error": {"code": code, "message": message}}
        told = {"type": "response.failed", "sequence_number": 0, "response": response}
        return lenient.event("response.failed", told)

    def keepalive(self, user_agent: str) -> bytes:
        """Codex's idle clock hears events only; to others an unknown one may be an error."""
        if "codex" in user_agent.lower():
            return lenient.event("keepalive", {"type": "keepalive"})
        return b": keepalive\n\n"


def _bypass(members: Members) -> str:
    """What keeps state at the provider, or reads it. `store` is true unless it is said to be
    false."""
    if lenient.raw(members, "store") != b"false":
        return "store"
    if lenient.given(members, "previous_response_id"):
        return "previous-response"
    if lenient.given(members, "conversation"):
        return "conversation"
    if lenient.is_true(members, "background"):
        return "background"
    if lenient.given(members, "prompt"):
        return "prompt-id"
    tools = members.get("tools")
    if tools is None:
        return ""
    try:
        found = _tools.decode(tools) or ()
    except (ValueError, RecursionError):
        return "server-tool"  # not readable: not known to be harmless
    return "" if all(_is_shareable(tool) for tool in found) else "server-tool"


def _is_shareable(tool: _Tool) -> bool:
    if tool.type == "shell":
        return tool.environment is None or lenient.obj(tool.environment).get("type") == "local"
    return tool.type is None or lenient.text(tool.type) in _SHAREABLE
