"""One request's way, top to bottom: identity, assembly, inference, post-process, stream.

Each stage is a room with so many places; who waits for the next room keeps its place in the one
before, so a stall at the end is felt at the door, and the door sheds who matters least. Every step
is a plain function that ends by entering the next room; nothing is awaited on the usual way, for a
task and its wake-ups cost as much as all that is decided here. What happens per event of an answer
happens in callbacks of its flight. The fourth stage, post-process, is `accounts.py`: calls go
through it, not requests.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from fleet.config import Dedup
from fleet.core.caller import Caller
from fleet.proxy.answer import Plan
from fleet.proxy.bookkeeping import Books
from fleet.proxy.catalogue import Catalogue
from fleet.proxy.dialects.dialect import Asked, Endpoint
from fleet.proxy.fingerprint import Fingerprints
from fleet.proxy.flight import Flight
from fleet.proxy.head import Head, Heads
from fleet.proxy.http.server import Exchange
from fleet.proxy.identity import Callers
from fleet.proxy.notes import Notes
from fleet.proxy.plans import worded
from fleet.proxy.pricing import Prices
from fleet.proxy.providers import Providers
from fleet.proxy.singleflight import LEADER, Flights
from fleet.proxy.treasury import Treasury
from fleet.proxy.visit import Refused, Rooms, Visit
from fleet.proxy.wire import Outgoing, Reply, Trouble


@dataclass(slots=True, kw_only=True)
class Pipeline:
    rooms: Rooms
    heads: Heads
    callers: Callers
    notes: Notes
    fingerprints: Fingerprints
    providers: Providers
    flights: Flights
    catalogue: Catalogue
    prices: Prices
    treasury: Treasury
    books: Books
    dedup: Dedup
    tasks: asyncio.TaskGroup
    clock: Callable[[], float]

    def accept(self, exchange: Exchange) -> None:
        """Called by the server for every request; answers it sooner or later, whatever happens."""
        visit = Visit(exchange, self.rooms, self.books, self.clock)
        exchange.on_gone = visit.gone
        visit.take(self._arrive)

    def _arrive(self, visit: Visit) -> None:
        visit.head = head = self.heads.read(visit.exchange.request)
        if head.place.endpoint is None:
            _beside_the_way(visit, head)
        else:
            visit.enter(self.rooms.rag, self._identify)

    # -- 1: rag -----------------------------------------------------------------------------

    def _identify(self, visit: Visit) -> None:
        """Whose request it is. A token that is not known yet is looked for in the ledger."""
        caller = self.callers.find(visit.head.token)
        if caller is None:
            self.tasks.create_task(self._look_up(visit))
        else:
            self._let_in(visit, caller)

    async def _look_up(self, visit: Visit) -> None:
        caller = await self.callers.refresh(visit.head.token)
        visit.take(lambda visit: self._let_in(visit, caller))

    def _let_in(self, visit: Visit, caller: Caller | None) -> None:
        if caller is None:
            raise Refused(Trouble.UNAUTHORIZED, "this is not the token of a live attempt")
        visit.belongs_to(caller, visit.head.urgency)
        visit.enter(self.rooms.assemble, self._assemble)

    # -- 2: assemble ------------------------------------------------------------------------

    def _assemble(self, visit: Visit) -> None:
        """What is asked, of whom, and which other requests are the same."""
        head, caller, body = visit.head, visit.caller, visit.exchange.request.body
        assert caller is not None
        dialect = head.place.dialect
        if head.place.endpoint is Endpoint.MODELS:
            self.tasks.create_task(self._list_models(visit))
            return
        if caller.notes:
            body = self.notes.put(caller, dialect.name, head.place.endpoint, body)
        seen = self.fingerprints.look(dialect, head.path, head.query, body)
        if seen.tools:
            self.notes.uses_tools(caller)
        visit.asked = asked = seen.asked
        able = self.providers.choose(dialect.name, asked.model)
        if not able:
            what = f"no upstream of this fleet speaks {dialect.name} and takes {asked.model!r}"
            raise Refused(Trouble.NOT_FOUND, what)
        provider = able[0]
        session = head.session or caller.key.encode()
        routes = provider.routes(session)
        account = routes[0].account
        login = head.login if account.keyless else b""
        if len(able) > 1 and not login:  # a login is for its own provider's eyes
            routes += tuple(route for other in able[1:] for route in other.routes(session))
        reason = self._reason(head, asked, seen.reason)
        visit.dedup = f"bypass:{reason}" if reason else LEADER
        key = None
        if not reason:
            key = self.fingerprints.key(
                seen,
                upstream=provider.name,
                scope=self._scope(caller, login),
                headers=head.telling,
                query="" if head.query == "alt=sse" else head.query,  # which only changes the form
            )
        cap = self.treasury.cap_for(caller)
        said, is_odd = body, bool(seen.reason)
        body, stream, hides_usage = worded(said, asked, provider, is_odd=is_odd, cap=cap)
        visit.plan = Plan(
            upstream=account.upstream,
            provider=provider,
            account=account.name,
            dialect=dialect,
            asked=asked,
            stream=stream,
            key=key,
            prefix=seen.prefix,
            caller=caller,
            quote=self.prices.quote(provider.source, asked.model),
            hides_usage=hides_usage,
            routes=routes,
            level=visit.priority,
            body=said if len(routes) > 1 else b"",
            session=head.session,
            cap=cap,
            is_odd=is_odd,
        )
        headers = head.onward_with_login if login else head.onward
        target = head.target if login else head.target_without_login
        visit.outgoing = Outgoing(visit.exchange.request.method, target, headers, body)
        visit.enter(self.rooms.inference, self._infer)

    async def _list_models(self, visit: Visit) -> None:
        head = visit.head
        headers = head.onward_with_login if head.login else head.onward
        reply = await self.catalogue.models(head.path, headers, own=bool(head.login))
        visit.take(lambda visit: visit.reply(reply))

    def _reason(self, head: Head, asked: Asked, seen: str) -> str:
        """Why this answer is nobody else's; "" when it may be."""
        if self.dedup is Dedup.OFF:
            return "off"
        if head.opts_out:
            return "asked"
        return seen or asked.bypass

    def _scope(self, caller: Caller, login: bytes) -> bytes:
        """Who may share: nobody across logins, and no attempt with one whose task has had fewer
        verdicts: it is there to do better."""
        if self.dedup is Dedup.SESSION:
            return caller.key.encode()
        scope = b"%d" % caller.verdicts
        return scope + hashlib.sha256(login).digest() if login else scope

    # -- 3: inference -----------------------------------------------------------------------

    def _infer(self, visit: Visit) -> None:
        """Board a flight that is under way or kept, or start one. Nothing comes between the look
        and the start, so two equal requests never both lead. The flight does the rest: it moves
        the visit on to the fifth room with the first event, and ends it with the last."""
        plan, outgoing = visit.plan, visit.outgoing
        assert plan is not None
        assert outgoing is not None
        found = self.flights.find(plan)
        if found is None:
            visit.subscribe(self.flights.launch(plan, outgoing), plan)
        else:
            answer, visit.dedup = found
            if isinstance(answer, Flight):
                self.flights.dispatch.lift(answer, visit.priority)
            visit.subscribe(answer, plan)


def _beside_the_way(visit: Visit, head: Head) -> None:
    """Probes, and what nobody here can mean."""
    place = head.place
    if place.probe:
        visit.reply(Reply(200, (), b""))
    elif place.allowed:
        visit.reply(Reply(405, ((b"allow", place.allowed.encode()),), b""))
    else:
        what = f"there is no {visit.exchange.request.method} {head.path} here"
        raise Refused(Trouble.NOT_FOUND, what)
