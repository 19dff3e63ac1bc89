"""Where calls go: the upstreams of `fleet.toml`, in order, and which key or replica of one.

The real keys are here and nowhere else in a fleet: taken from the proxy's own environment, added
to calls as they leave, shown to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from fleet.config import OFFICIAL, Auth, ProxyConfig, UpstreamConfig, UpstreamKind
from fleet.core.profile import Api
from fleet.proxy.affinity import ranked
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
    address: str  # "anthropic@0": of the upstream and its replica; keys of one address share it
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

    @property
    def reserves_output(self) -> bool:
        """OpenAI counts all the output a request allows until the answer has come; Anthropic what
        it was (their rate-limit pages, 2026)."""
        return self.config.kind is UpstreamKind.OPENAI

    @property
    def is_official(self) -> bool:
        """At the address of its maker."""
        return self.config.urls == (OFFICIAL.get(self.config.kind),)

    @property
    def lacks_key(self) -> bool:
        """It is to be shown one, and there is none."""
        return bool(self.config.keys) and all(account.keyless for account in self.accounts)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(account.name for account in self.accounts)

    def routes(self, session: bytes) -> tuple[Route, ...]:
        """Its keys, in an order that is the same for one session as long as they exist, so that
        its prompt cache is found."""
        if len(self.accounts) == 1:
            return (Route(self, self.accounts[0]),)
        order = ranked(session, self._names)
        return tuple(Route(self, self.accounts[index]) for index in order)


class Route(NamedTuple):
    """One way to an answer."""

    provider: Provider
    account: Account


class Providers:
    def __init__(self, config: ProxyConfig, environ: Mapping[str, str], build: Build) -> None:
        self._environ = environ
        self._build = build
        self.all: tuple[Provider, ...] = ()
        self._chosen: dict[tuple[DialectName, str], tuple[Provider, ...]] = {}

        self.configure(config)

    def configure(self, config: ProxyConfig) -> None:
        """Other upstreams from now on; one that is as it was stays what it is."""
        known = {provider.config: provider for provider in self.all}
        self.all = tuple(
            known.get(found) or _provider(found, self._environ, self._build)
            for found in config.upstreams
        )
        self._chosen.clear()

    def choose(self, dialect: DialectName, model: str) -> tuple[Provider, ...]:
        """Those that speak the dialect and take the model; the first is to be asked, the others
        when it cannot answer."""
        asked = dialect, model
        found = self._chosen.get(asked)
        if found is None:
            if len(self._chosen) >= MODELS_REMEMBERED:
                self._chosen.clear()
            able = tuple(self._able(dialect, model))
            found = self._chosen[asked] = (
                *able[:1],
                *(provider for provider in able[1:] if not provider.lacks_key),
            )
        return found

    def _able(self, dialect: DialectName, model: str) -> Iterator[Provider]:
        api = SPOKEN[dialect]
        for provider in self.all:
            if api in provider.config.kind.speaks and provider.config.takes(model):
                yield provider


def _provider(found: UpstreamConfig, environ: Mapping[str, str], build: Build) -> Provider:
    keys = [environ[name] for name in found.keys if environ.get(name)]
    credentials = [_credential(found.auth, key) for key in keys] or [()]
    places = tuple(enumerate(found.urls or ("",)))
    pairs = ((place, url, credential) for place, url in places for credential in credentials)
    accounts = []
    for number, (place, url, credential) in enumerate(pairs):
        name = f"{found.name}/{number}"
        accounts.append(
            Account(
                name=name,
                address=f"{found.name}@{place}",
                upstream=build(found, name, url, credential),
                keyless=not credential,
            )
        )
    return Provider(config=found, accounts=tuple(accounts))


def _credential(auth: Auth, key: str) -> Headers:
    name = b"authorization" if auth is Auth.BEARER else auth.value.encode()
    value = f"Bearer {key}" if auth is Auth.BEARER else key
    return ((name, value.encode()),)
