"""How an agent reaches its model: base URLs and a token of its own, never a key.

The URL holds the token as well, for programs that insist on a login of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fleet.core.attempt import Claim
from fleet.core.profile import Api, Profile
from fleet.core.story import Story
from fleet.gate.cleanroom import Caller, Interrupted
from fleet.process.kernel import pause
from fleet.process.supervise import Ended
from fleet.store import proxyfile, tokens
from fleet.store.proxyfile import ProxyAddress
from fleet.wiring import Fleet

PROXY_S, POLL_S = 15.0, 0.05  # a proxy that was killed is back by then
DIRECT = "127.0.0.1,localhost"  # nothing else may stand between an agent and the proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """`token` is "" for an agent that needs no model."""

    proxy: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    port: int = 0  # of the proxy

    @property
    def values(self) -> dict[str, str]:
        """For the placeholders of a profile; never for its command."""
        return {"proxy": self.proxy, "token": self.token} if self.token else {}

    def env(self, apis: Iterable[Api]) -> dict[str, str]:
        """What programs that speak these interfaces look for."""
        found = {"no_proxy": DIRECT, "NO_PROXY": DIRECT} if self.token else {}
        for api in apis:
            found |= _variables(api, self.proxy, self.token)
        return found

    def hushed(self, ended: Ended, story: Story) -> tuple[Ended, Story]:
        """What is told of an agent's end, and what it told itself, do not repeat its token."""
        return (
            replace(ended, reason=self._hush(ended.reason), last_line=self._hush(ended.last_line)),
            replace(story, error=self._hush(story.error), said=self._hush(story.said)),
        )

    def _hush(self, words: str) -> str:
        return words.replace(self.token, "…") if self.token else words


def _variables(api: Api, proxy: str, token: str) -> dict[str, str]:
    match api:
        case Api.ANTHROPIC:
            return {"ANTHROPIC_BASE_URL": proxy, "ANTHROPIC_AUTH_TOKEN": token}
        case Api.OPENAI:
            url = f"{proxy}/v1"
            return {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": token}
        case Api.GEMINI:
            return {"GOOGLE_GEMINI_BASE_URL": proxy, "GEMINI_API_KEY": token}


def open_access(fleet: Fleet, claim: Claim, profile: Profile, by: Caller) -> Access:
    """A new token for this attempt, known to the ledger before the agent can use it."""
    if not profile.api:
        return Access()
    address = _await_proxy(fleet, by)
    token = tokens.issue(fleet.db, claim, profile.name, time.time())
    return Access(proxy=f"{address.url}/a/{token}", token=token, port=address.port)


def _await_proxy(fleet: Fleet, by: Caller) -> ProxyAddress:
    until = time.monotonic() + PROXY_S
    while (address := proxyfile.live(fleet.layout)) is None:
        by.check()
        if time.monotonic() > until:
            raise Interrupted("there is no proxy any more, and the agent needs a model")
        pause(POLL_S)
    return address
