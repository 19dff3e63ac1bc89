"""What a proxy is made of, put together from its configuration and taken apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from fleet.config import Config, ProxyConfig
from fleet.core.errors import unwrapped
from fleet.core.traffic import NANO
from fleet.proxy import pricing
from fleet.proxy.accounts import Accounts
from fleet.proxy.bookkeeping import Books
from fleet.proxy.build import Builder, Tape
from fleet.proxy.cache import Cache
from fleet.proxy.catalogue import Catalogue
from fleet.proxy.dispatch import Dispatch
from fleet.proxy.fingerprint import Fingerprints
from fleet.proxy.flight import SHARED_BYTES
from fleet.proxy.head import Heads
from fleet.proxy.http.client import Client
from fleet.proxy.http.limits import Limits
from fleet.proxy.http.server import Exchange, Server
from fleet.proxy.identity import Callers
from fleet.proxy.kept import Kept
from fleet.proxy.loop_watch import LoopWatch
from fleet.proxy.metrics import CONTENT_TYPE, Gauge, Metrics
from fleet.proxy.notes import Notes
from fleet.proxy.pipeline import Pipeline
from fleet.proxy.plans import Plans
from fleet.proxy.pressure.breaker import State
from fleet.proxy.pressure.lane import UNBOUNDED
from fleet.proxy.pressure.lanes import Lanes
from fleet.proxy.pressure.loops import Loops, Patience
from fleet.proxy.pricing import Prices
from fleet.proxy.providers import Providers
from fleet.proxy.reports import Reports
from fleet.proxy.setbacks import Setbacks
from fleet.proxy.settings import Settings
from fleet.proxy.singleflight import Flights
from fleet.proxy.singleflight import Patience as FlightPatience
from fleet.proxy.treasury import Treasury
from fleet.proxy.visit import Rooms
from fleet.proxy.warmth import Warmth
from fleet.proxy.wire import Reply
from fleet.store.calls import CallsWriter
from fleet.store.layout import Layout

PLAIN = ((b"content-type", b"text/plain"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A proxy that can be given requests. `tick` it a few times a second."""

    pipeline: Pipeline
    callers: Callers
    flights: Flights
    books: Books
    writer: CallsWriter
    limits: Limits
    metrics: Metrics
    faults: list[str]
    settings: Settings
    reports: Reports
    tasks: asyncio.TaskGroup

    async def listen(self, host: str, port: int) -> Server:
        return await Server.listen(host, port, self.pipeline.accept, limits=self.limits)

    async def listen_metrics(self, host: str, port: int) -> Server:
        """On a port of its own: agents are told of the other only."""
        return await Server.listen(host, port, self._show)

    def _show(self, exchange: Exchange) -> None:
        path = exchange.request.target.partition("?")[0]
        if path != "/metrics" or exchange.request.method not in ("GET", "HEAD"):
            exchange.reply(Reply(404, PLAIN, b"there is only GET /metrics here\n"))
        else:
            self.tasks.create_task(self._render(exchange))

    async def _render(self, exchange: Exchange) -> None:
        """Beside the loop: with hundreds of models it takes 0.1 s."""
        shown = await asyncio.to_thread(self.metrics.render)
        exchange.reply(Reply(200, ((b"content-type", CONTENT_TYPE),), shown))

    def tick(self) -> None:
        self.flights.tick()
        self.books.tick()

    @property
    def is_empty(self) -> bool:
        """Nobody is served, and no call is under way."""
        return not self.flights and not any(room.occupancy for room in self.pipeline.rooms.all)

    @property
    def busy(self) -> bool:
        """Somebody asks, or is alive and may."""
        return bool(self.callers.live() or len(self.flights))

    @property
    def fault(self) -> str:
        """Why nothing more may be served; "" while nothing is the matter."""
        return next(iter(self.faults), self.writer.fault or self.reports.fault)


@contextlib.asynccontextmanager
async def open_plant(
    whole: Config, layout: Layout, environ: Mapping[str, str], tape: Tape
) -> AsyncIterator[Plant]:
    """Closed in the order that loses nothing: requests, calls, rows."""
    loop, config = asyncio.get_running_loop(), whole.proxy
    clock, rng = loop.time, random.Random()
    async with AsyncExitStack() as stack:
        stack.enter_context(unwrapped())
        writer = CallsWriter(layout.calls_database)
        stack.callback(writer.close)
        client = await stack.enter_async_context(Client())
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        price_child = pricing.child(environ)
        stack.push_async_callback(price_child.close)
        build = stack.enter_context(Builder(config, client, tape, tasks))
        providers = Providers(config, environ, build.upstream)
        if not all(provider.source.free for provider in providers.all):
            tasks.create_task(price_child.start())  # its import is not the first answer's to await
        limits = replace(Limits(), body=config.body_bytes, bodies=config.bodies_bytes)
        rooms, books = Rooms.usual(limits.connections), Books(writer)
        reports = Reports(layout.database)
        stack.callback(reports.close)
        treasury = _treasury(whole, layout, writer, reports)
        prices = Prices(price_child.ask, tasks=tasks)
        watch = LoopWatch(Loops(Patience()), reports)
        accounts = Accounts(
            books=books,
            room=rooms.postprocess,
            treasury=treasury,
            watch=watch,
            next_id=writer.next_id,
            clock=clock,
        )
        stack.callback(books.close)
        lanes = Lanes(lambda _upstream, _model: UNBOUNDED, rng)
        setbacks = Setbacks(lanes, reports, time.time, rng, build.redact)
        dispatch = Dispatch(
            lanes=lanes,
            setbacks=setbacks,
            plans=Plans(prices),
            treasury=treasury,
            reports=reports,
            clock=clock,
            wall=time.time,
            later=loop.call_later,
        )
        flights = _flights(config, dispatch, accounts, clock, rng)
        stack.callback(flights.close)
        settings = Settings(
            build=build,
            providers=providers,
            lanes=lanes,
            setbacks=setbacks,
            treasury=treasury,
            prices=prices,
            loops=watch.loops,
        )
        settings.apply(whole)
        faults: list[str] = []
        notes = Notes()
        callers = Callers(
            layout.database,
            on_change=notes.forget,
            on_run=treasury.run_began,
            on_error=lambda error: faults.append(f"state.db cannot be read: {error}"),
        )
        pipeline = Pipeline(
            rooms=rooms,
            heads=Heads(),
            callers=callers,
            notes=notes,
            fingerprints=Fingerprints(),
            providers=providers,
            flights=flights,
            catalogue=Catalogue(providers, clock),
            prices=prices,
            treasury=treasury,
            books=books,
            dedup=config.dedup,
            tasks=tasks,
            clock=clock,
        )
        plant = Plant(
            pipeline=pipeline,
            callers=callers,
            flights=flights,
            books=books,
            writer=writer,
            limits=limits,
            metrics=Metrics(books, rooms.all, _gauges(flights, treasury)),
            faults=faults,
            settings=settings,
            reports=reports,
            tasks=tasks,
        )
        await callers.start()
        stack.callback(callers.close)
        yield plant


def _treasury(config: Config, layout: Layout, writer: CallsWriter, reports: Reports) -> Treasury:
    return Treasury(
        config.budget,
        writer,
        layout.calls_database,
        wall=time.time,
        soon=asyncio.get_running_loop().call_soon_threadsafe,
        told=reports.mark,
    )


def _flights(
    config: ProxyConfig,
    dispatch: Dispatch,
    accounts: Accounts,
    clock: Callable[[], float],
    rng: random.Random,
) -> Flights:
    return Flights(
        cache=Cache[Kept](
            ttl_s=config.cache_ttl_s,
            most_bytes=config.cache_bytes,
            most_item_bytes=SHARED_BYTES,
        ),
        warmth=Warmth(),
        dispatch=dispatch,
        ledger=accounts,
        patience=FlightPatience(grace_s=config.grace_s, hold_back_s=config.hold_back_s),
        clock=clock,
        rng=rng,
    )


def _gauges(flights: Flights, treasury: Treasury) -> tuple[Gauge, ...]:
    lanes = flights.dispatch.lanes
    return (
        Gauge("waiting_calls", "Calls in line for a lane.", lambda: flights.dispatch.waiting),
        Gauge(
            "open_breakers",
            "Ways to a model that are not used now, or only tried.",
            lambda: sum(lane.breaker.state is not State.CLOSED for lane in lanes),
        ),
        Gauge(
            "set_aside_dollars",
            "For calls under way, while a budget is set.",
            lambda: treasury.budget.aside / NANO,
        ),
        Gauge("flights", "Calls under way, or about to be.", lambda: len(flights)),
        Gauge("kept_answers", "Answers that may be replayed.", lambda: len(flights.cache)),
        Gauge("kept_bytes", "What they take.", lambda: flights.cache.bytes),
        Gauge("held_calls", "Calls that wait for a prompt cache.", lambda: flights.warmth.waiting),
    )
