"""`GET /v1/models`: what all upstreams offer, in one shape that every client can read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fleet.config import UpstreamKind
from fleet.proxy.dialects import models
from fleet.proxy.fetch import fetch
from fleet.proxy.headers import CREDENTIALS
from fleet.proxy.providers import Provider, Providers
from fleet.proxy.wire import Headers, Outgoing, Reply

log = logging.getLogger(__name__)

KEPT_S = 300.0
# Of a list that is kept for all: one caller's headers could spoil it for the others.
NEUTRAL: Headers = ((b"accept", b"application/json"), (b"anthropic-version", b"2023-06-01"))
PATIENCE_S = 3.0  # Claude Code gives a gateway as long


class Catalogue:
    """Asks each provider at most every five minutes; one that does not answer is left out."""

    def __init__(self, providers: Providers, clock: Callable[[], float]) -> None:
        self._providers = providers
        self._clock = clock
        self._kept: dict[str, tuple[float, Reply]] = {}

    async def models(self, path: str, headers: Headers, *, own: bool) -> Reply:
        """`own`: the caller brings its own login, so its list is its own, too."""
        kept = self._kept.get(path)
        if kept is not None and not own and self._clock() - kept[0] < KEPT_S:
            return kept[1]
        bodies = await asyncio.gather(
            *(self._ask(each, headers if own else NEUTRAL) for each in self._providers.all)
        )
        reply = models.reply(path, tuple(body for body in bodies if body is not None))
        if reply.status == 200 and not own:
            self._kept[path] = self._clock(), reply
        return reply

    async def _ask(self, provider: Provider, headers: Headers) -> bytes | None:
        account = provider.accounts[0]
        target = (
            "/v1beta/models"
            if provider.config.kind is UpstreamKind.GEMINI
            else "/v1/models?limit=1000"
        )
        if not account.keyless:
            headers = tuple(pair for pair in headers if pair[0] not in CREDENTIALS)
        outgoing = Outgoing("GET", target, headers, b"")
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await fetch(account.upstream, outgoing)
        except TimeoutError:
            log.warning("upstream %s gives no list of its models", provider.name)
            return None
