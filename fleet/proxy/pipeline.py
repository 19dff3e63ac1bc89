"""One request's way, top to bottom: identity, assembly, inference, post-process, stream.

Each stage is a room with so many places; who waits for the next room keeps its place in the one
before, so a stall at the end is felt at the door, and the door sheds who matters least. A request
is one coroutine; what happens per event happens in callbacks of its flight, without it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from fleet.config import Dedup
from fleet.core.caller import Caller
from fleet.proxy.bookkeeping import Books
from fleet.proxy.catalogue import Catalogue
from fleet.proxy.dialects import chat, table
from fleet.proxy.dialects.dialect import Asked, Endpoint
from fleet.proxy.fingerprint import Fingerprints, Seen
from fleet.proxy.flight import Plan
from fleet.proxy.headers import CREDENTIALS, for_upstream
from fleet.proxy.http.server import Exchange
from fleet.proxy.identity import Callers, credentials
from fleet.proxy.pricing import Prices
from fleet.proxy.providers import Provider, Providers
from fleet.proxy.singleflight import LEADER, Flights
from fleet.proxy.subscriber import DEDUP
from fleet.proxy.visit import Refused, Rooms, Visit
from fleet.proxy.wire import Outgoing, Reply, Request, Trouble

log = logging.getLogger(__name__)

STREAMED = frozenset({Endpoint.MESSAGES, Endpoint.CHAT, Endpoint.RESPONSES})
SESSION_HEADERS = (b"x-claude-code-session-id", b"session-id", b"x-session-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    rooms: Rooms
    callers: Callers
    fingerprints: Fingerprints
    providers: Providers
    flights: Flights
    catalogue: Catalogue
    prices: Prices
    books: Books
    dedup: Dedup
    tasks: asyncio.TaskGroup
    clock: Callable[[], float]

    def accept(self, exchange: Exchange) -> None:
        """Called by the server for every request; answers it sooner or later, whatever happens."""
        task = self.tasks.create_task(self._serve(exchange))

        def gone() -> None:
            task.cancel()

        exchange.on_gone = gone

    async def _serve(self, exchange: Exchange) -> None:
        visit = Visit(exchange, self.rooms, self.clock)
        try:
            await self._walk(visit)
        except Refused as refused:
            visit.refuse(refused)
        except asyncio.CancelledError:
            if not exchange.gone:
                visit.refuse(Refused(Trouble.OVERLOADED, "the proxy is shutting down"))
        except Exception:
            log.exception("a request could not be served")
            visit.refuse(Refused(Trouble.INTERNAL, "the proxy failed: its log says why"))
        finally:
            visit.close(self.books)

    async def _walk(self, visit: Visit) -> None:
        request = visit.exchange.request
        token, target, login = credentials(request.headers, request.target)
        path, _, query = target.partition("?")
        visit.place = place = table.find(request.method, path)
        if place.endpoint is None:
            self._beside_the_way(visit, request.method, path)
            return

        await visit.enter(self.rooms.rag)
        caller = self.callers.find(token) or await self.callers.refresh(token)
        if caller is None:
            raise Refused(Trouble.UNAUTHORIZED, "this is not the token of a live attempt")
        visit.belongs_to(caller)

        await visit.enter(self.rooms.assemble)
        if place.endpoint is Endpoint.MODELS:
            visit.reply(await self.catalogue.models(path, request.headers, login=login))
            return
        seen = self.fingerprints.look(place.dialect, path, query, request.body)
        visit.asked = seen.asked
        plan, outgoing = self._assemble(visit, caller, seen, target, login=login)

        await visit.enter(self.rooms.inference)
        self._infer(visit, plan, outgoing)
        await visit.finish()

    def _beside_the_way(self, visit: Visit, method: str, path: str) -> None:
        """Probes, and what nobody here can mean."""
        place = visit.place
        if place.probe:
            visit.reply(Reply(200, (), b""))
        elif place.allowed:
            visit.reply(Reply(405, ((b"allow", place.allowed.encode()),), b""))
        else:
            raise Refused(Trouble.NOT_FOUND, f"there is no {method} {path} here")

    # -- assemble ---------------------------------------------------------------------------

    def _assemble(
        self, visit: Visit, caller: Caller, seen: Seen, target: str, *, login: bool
    ) -> tuple[Plan, Outgoing]:
        """What is asked, of whom, and which other requests are the same."""
        request, asked, dialect = visit.exchange.request, seen.asked, visit.place.dialect
        provider = self.providers.choose(dialect.name, asked.model)
        if provider is None:
            raise Refused(
                Trouble.NOT_FOUND,
                f"no upstream of this fleet speaks {dialect.name} and takes {asked.model!r}",
            )
        visit.session = session = _session(request, caller)
        account = provider.account(session)
        login = login and account.keyless
        reason = self._reason(request, asked, seen.reason)
        visit.dedup = b"bypass:" + reason.encode() if reason else LEADER
        key = None
        if not reason:
            key = self.fingerprints.key(
                seen,
                upstream=provider.name,
                scope=self._scope(caller, request, login=login),
                headers=request.headers,
                query=_telling(target),
            )
        body, stream, hides_usage = _body(request.body, asked, provider, seen.reason)
        plan = Plan(
            upstream=account.upstream,
            provider=provider,
            account=account.name,
            dialect=dialect,
            asked=asked,
            stream=stream,
            key=key,
            prefix=seen.prefix,
            caller=caller,
            request_id=visit.request_id,
            quote=self.prices.quote(provider.source, asked.model),
            hides_usage=hides_usage,
        )
        headers = for_upstream(request.headers, login=login)
        return plan, Outgoing(request.method, target, headers, body)

    def _reason(self, request: Request, asked: Asked, seen: str) -> str:
        """Why this answer is nobody else's; "" when it may be."""
        if self.dedup is Dedup.OFF:
            return "off"
        if request.header(DEDUP) == b"off":
            return "asked"
        return seen or asked.bypass

    def _scope(self, caller: Caller, request: Request, *, login: bool) -> bytes:
        """Who may share: nobody across logins, and no attempt with one whose task has had fewer
        verdicts: it is there to do better."""
        if self.dedup is Dedup.SESSION:
            return caller.key.encode()
        scope = b"%d" % caller.verdicts
        if login:
            shown = b"\0".join(v for name, v in request.headers if name in CREDENTIALS)
            scope += hashlib.sha256(shown).digest()
        return scope

    # -- inference --------------------------------------------------------------------------

    def _infer(self, visit: Visit, plan: Plan, outgoing: Outgoing) -> None:
        """Board a flight that is under way or kept, or start one. Nothing is awaited between the
        look and the start, so two equal requests never both lead."""
        found = None
        if plan.key is not None:
            found = self.flights.find(plan.key, plan.caller.key, plan.asked.endpoint)
        if found is None:
            flight = self.flights.launch(plan, outgoing)
        else:
            flight, visit.dedup = found
        visit.subscribe(flight, plan.caller, plan.asked)


def _session(request: Request, caller: Caller) -> bytes:
    for name in SESSION_HEADERS:
        value = request.header(name)
        if value:
            return value
    return caller.key.encode()


def _telling(target: str) -> str:
    """What a query changes of an answer: `alt=sse` only changes its form."""
    query = target.partition("?")[2]
    return "" if query == "alt=sse" else query


def _body(body: bytes, asked: Asked, provider: Provider, odd: str) -> tuple[bytes, bool, bool]:
    """What goes on the wire, whether it asks for a stream, and whether for a usage chunk that the
    client did not ask for: streams of Chat say what they used only then. Else no byte is touched,
    but for providers that are always asked for a stream."""
    stream = asked.stream
    if odd or asked.endpoint not in STREAMED:
        return body, stream, False
    if provider.always_streams and not stream:
        body, stream = chat.with_stream(body), True
    if stream and asked.endpoint is Endpoint.CHAT and not asked.wants_usage:
        return chat.with_usage(body), stream, True
    return body, stream, False
