"""Where calls go: the upstreams of `fleet.toml`, in order, and which key or replica of one.

The real keys are here and nowhere else in a fleet: taken from the proxy's own environment, added
to calls as they leave, shown to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from fleet.config import Auth, ProxyConfig, UpstreamConfig, UpstreamKind
from fleet.core.profile import Api
from fleet.proxy.affinity import pick
from fleet.proxy.dialects.dialect import DialectName
from fleet.proxy.pricing import Source
from fleet.proxy.wire import Headers, Upstream

SPOKEN = {
    DialectName.ANTHROPIC: Api.ANTHROPIC,
    DialectName.CHAT: Api.OPENAI,
    DialectName.RESPONSES: Api.OPENAI,
    DialectName.GEMINI: Api.GEMINI,
}
MODELS_REMEMBERED = 4096  # names are the agents' to invent

# Makes the upstream of an account: settings, its name, address ("" for a script), credential.
Build = Callable[[UpstreamConfig, str, str, Headers], Upstream]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One key at one address: what a provider's prompt cache and limits belong to."""

    name: str  # "anthropic/0": says nothing of the key
    upstream: Upstream = field(repr=False)
    keyless: bool  # the client's own login goes on to it


@dataclass(frozen=True, kw_only=True)
class Provider:
    config: UpstreamConfig
    accounts: tuple[Account, ...]

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def source(self) -> Source:
        """Who is paid, if anybody."""
        kind = self.config.kind
        free = kind in (UpstreamKind.LLAMA_CPP, UpstreamKind.SCRIPT)
        return Source(kind, next(iter(self.config.urls), ""), free)

    @property
    def always_streams(self) -> bool:
        """llama.cpp notices that nobody waits only while it streams (llama.cpp #24496)."""
        return self.config.kind is UpstreamKind.LLAMA_CPP

    def account(self, session: bytes) -> Account:
        """The same for one session as long as it exists, so that its prompt cache is found."""
        if len(self.accounts) == 1:
            return self.accounts[0]
        return self.accounts[pick(session, tuple(account.name for account in self.accounts))]


class Providers:
    def __init__(self, config: ProxyConfig, environ: Mapping[str, str], build: Build) -> None:
        self.all = tuple(_provider(found, environ, build) for found in config.upstreams)
        self._chosen: dict[tuple[DialectName, str], Provider | None] = {}

    def choose(self, dialect: DialectName, model: str) -> Provider | None:
        """The first that speaks the dialect and takes the model."""
        asked = dialect, model
        if asked not in self._chosen:
            if len(self._chosen) >= MODELS_REMEMBERED:
                self._chosen.clear()
            self._chosen[asked] = next(self._able(dialect, model), None)
        return self._chosen[asked]

    def _able(self, dialect: DialectName, model: str) -> Iterator[Provider]:
        api = SPOKEN[dialect]
        for provider in self.all:
            if api in provider.config.kind.speaks and provider.config.takes(model):
                yield provider


def _provider(found: UpstreamConfig, environ: Mapping[str, str], build: Build) -> Provider:
    keys = [environ[name] for name in found.keys if environ.get(name)]
    credentials = [_credential(found.auth, key) for key in keys] or [()]
    places = found.urls or ("",)
    pairs = ((url, credential) for url in places for credential in credentials)
    accounts = []
    for number, (url, credential) in enumerate(pairs):
        name = f"{found.name}/{number}"
        upstream = build(found, name, url, credential)
        accounts.append(Account(name=name, upstream=upstream, keyless=not credential))
    return Provider(config=found, accounts=tuple(accounts))


def _credential(auth: Auth, key: str) -> Headers:
    name = b"authorization" if auth is Auth.BEARER else auth.value.encode()
    value = f"Bearer {key}" if auth is Auth.BEARER else key
    return ((name, value.encode()),)
