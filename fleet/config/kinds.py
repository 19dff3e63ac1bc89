"""The providers the proxy knows: what each speaks, where it is, its variables."""

from __future__ import annotations

from enum import StrEnum

from fleet.core.profile import Api


class UpstreamKind(StrEnum):
    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GEMINI = "gemini"
    LLAMA_CPP = "llama-cpp"
    SCRIPT = "script"  # a model played from a file

    @property
    def speaks(self) -> frozenset[Api]:
        return _SPEAKS[self]


class Auth(StrEnum):
    """The header that shows the key."""

    X_API_KEY = "x-api-key"
    BEARER = "bearer"
    X_GOOG_API_KEY = "x-goog-api-key"


_SPEAKS = {
    UpstreamKind.ANTHROPIC: frozenset({Api.ANTHROPIC}),
    UpstreamKind.OPENAI: frozenset({Api.OPENAI}),
    UpstreamKind.GEMINI: frozenset({Api.GEMINI}),
    UpstreamKind.LLAMA_CPP: frozenset({Api.ANTHROPIC, Api.OPENAI}),
    UpstreamKind.SCRIPT: frozenset(Api),
}
AUTH = {UpstreamKind.ANTHROPIC: Auth.X_API_KEY, UpstreamKind.GEMINI: Auth.X_GOOG_API_KEY}
OFFICIAL = {
    UpstreamKind.ANTHROPIC: "https://api.anthropic.com",
    UpstreamKind.OPENAI: "https://api.openai.com",
    UpstreamKind.GEMINI: "https://generativelanguage.googleapis.com",
}
OWN_MODELS = {  # what a provider is asked for when a local model takes the rest
    UpstreamKind.ANTHROPIC: ("claude-*",),
    UpstreamKind.OPENAI: ("gpt-*", "chatgpt-*", "o[0-9]*", "codex-*", "text-embedding-*", "ft:*"),
}
VARIABLES = {
    UpstreamKind.ANTHROPIC: (
        ("ANTHROPIC_API_KEY", Auth.X_API_KEY),
        ("ANTHROPIC_AUTH_TOKEN", Auth.BEARER),
    ),
    UpstreamKind.OPENAI: (("OPENAI_API_KEY", Auth.BEARER),),
    UpstreamKind.GEMINI: (
        ("GEMINI_API_KEY", Auth.X_GOOG_API_KEY),
        ("GOOGLE_API_KEY", Auth.X_GOOG_API_KEY),
    ),
}
BASE_URL = {
    UpstreamKind.ANTHROPIC: "ANTHROPIC_BASE_URL",
    UpstreamKind.OPENAI: "OPENAI_BASE_URL",
    UpstreamKind.LLAMA_CPP: "LLAMA_CPP_URL",
}
