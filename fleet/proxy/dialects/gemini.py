"""Google's Gemini: the model and the verb are in the path."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fleet.proxy.dialects import gemini_form, lenient
from fleet.proxy.dialects.dialect import Asked, DialectName, Endpoint, Members
from fleet.proxy.dialects.gemini_meter import GeminiMeter
from fleet.proxy.wire import Headers, Reply, Trouble

ENDPOINTS = {
    "generateContent": Endpoint.GENERATE,
    "streamGenerateContent": Endpoint.GENERATE,
    "countTokens": Endpoint.COUNT_TOKENS,
    "embedContent": Endpoint.EMBEDDINGS,
}
_WORDS: dict[Trouble, tuple[int, str]] = {
    Trouble.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    Trouble.UNAUTHORIZED: (401, "UNAUTHENTICATED"),
    Trouble.NOT_FOUND: (404, "NOT_FOUND"),
    Trouble.TOO_LARGE: (413, "INVALID_ARGUMENT"),
    Trouble.LIMITED: (429, "RESOURCE_EXHAUSTED"),
    Trouble.SPENT: (429, "RESOURCE_EXHAUSTED"),
    Trouble.OVERLOADED: (503, "UNAVAILABLE"),
    Trouble.TIMEOUT: (504, "DEADLINE_EXCEEDED"),
    Trouble.UPSTREAM: (502, "UNAVAILABLE"),
    Trouble.INTERNAL: (500, "INTERNAL"),
}
# Google's own clients repeat any 429 but one of a quota for a whole day.
_FOR_TODAY = [
    {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": "BudgetPerDay"}],
    }
]
_SHAREABLE = frozenset({"functionDeclarations", "function_declarations"})

_tools = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw] | None)


class Gemini:
    name = DialectName.GEMINI

    def ask(self, path: str, query: str, members: Members) -> Asked:
        model, colon, verb = path.rpartition("/")[2].rpartition(":")
        if not colon:
            name = "" if verb == "models" else verb
            return Asked(endpoint=Endpoint.MODELS, model=name, deterministic=True)
        endpoint = ENDPOINTS.get(verb, Endpoint.GENERATE)
        if endpoint is not Endpoint.GENERATE:
            return Asked(endpoint=endpoint, model=model, deterministic=True)
        config = _config(members)
        streams = verb == "streamGenerateContent"
        events = streams and "alt=sse" in query.lower().split("&")
        return Asked(
            endpoint=endpoint,
            model=model,
            stream=events,
            max_output=lenient.count(_either(config, "maxOutputTokens", "max_output_tokens")),
            deterministic=config.get("temperature") == 0 or config.get("seed") is not None,
            bypass="array" if streams and not events else _bypass(config, members),
        )

    def meter(self, asked: Asked) -> GeminiMeter:
        return GeminiMeter(asked)

    def fold(self, events: Sequence[bytes]) -> bytes | None:
        return gemini_form.fold(events)

    def unfold(self, body: bytes) -> tuple[bytes, ...] | None:
        return gemini_form.unfold(body)

    def refusal(
        self,
        trouble: Trouble,
        message: str,
        *,
        request_id: str,
        retry_after_s: int | None = None,
        retry: bool | None = None,
    ) -> Reply:
        status, word = _WORDS[trouble]
        headers: Headers = (
            (b"content-type", b"application/json"),
            (b"x-request-id", request_id.encode()),
            *lenient.when_to_retry(retry_after_s, retry),
        )
        error: lenient.Object = {"code": status, "message": message, "status": word}
        if trouble is Trouble.SPENT:
            error["details"] = _FOR_TODAY
        return Reply(status, headers, lenient.dumps({"error": error}))

    def broken(self, message: str) -> bytes:
        error = {"code": 502, "message": message, "status": "UNAVAILABLE"}
        return lenient.unnamed({"error": error})

    def late(self, body: bytes) -> bytes:
        error = lenient.members_of(body)
        return self.broken(lenient.shown(body)) if error is None else lenient.unnamed(error)

    def keepalive(self, user_agent: str) -> bytes:
        """Blank lines: Google's SDKs choke on comments, and take unknown chunks for answers."""
        return b"\n\n"


def _config(members: Members) -> lenient.Object:
    name = "generationConfig" if "generationConfig" in members else "generation_config"
    return lenient.obj(lenient.value_of(members, name))


def _either(config: lenient.Object, name: str, snake: str) -> object:
    return config.get(name, config.get(snake))


def _bypass(config: lenient.Object, members: Members) -> str:
    if lenient.count(_either(config, "candidateCount", "candidate_count")) > 1:
        return "n"
    tools = members.get("tools")
    if tools is None:
        return ""
    try:
        found = _tools.decode(tools) or ()
    except (ValueError, RecursionError):
        return "server-tool"  # not readable: not known to be harmless
    kinds = [found] if isinstance(found, dict) else found
    return "" if all(_SHAREABLE.issuperset(tool) for tool in kinds) else "server-tool"
