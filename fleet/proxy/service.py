"""The proxy as a process: how it starts, what it tells, and when it ends.

It holds its own lock, so there is one for a repository, and it outlives the coordinator that
started it: it ends when asked to, or when there is neither a coordinator nor a live attempt. The
port it had before is the port it takes again, so what agents were told stays true.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleet import config as configuration
from fleet.config import Config
from fleet.core.errors import Exit, FleetError, HeldError, StorageError
from fleet.process.kernel import forget, give_back_memory, hide
from fleet.proxy.build import Tape
from fleet.proxy.http.server import Server
from fleet.proxy.plant import Plant, open_plant
from fleet.proxy.settings import SettingsWatch
from fleet.recovery.state import layout_of, open_state
from fleet.repo.git import locate
from fleet.store import proxyfile, tokens
from fleet.store.claims import hold, is_held
from fleet.store.controls import Controls
from fleet.store.layout import Layout
from fleet.telemetry import logs

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LOCK_WAIT_S = 2.0  # somebody may only be asking whether a proxy lives
TICK_S = 0.25
DRAIN_S = 30.0
LONELY_S = 2.0  # without a coordinator and without an attempt
RUSH = 100  # requests: after so many there is memory to give back
GC_THRESHOLDS = (50_000, 20, 50)  # cycles are rare here, and a collection is a pause for all

Tell = Callable[[str], None]


def say(line: str) -> None:
    """At once, also into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    by_hand: bool = False
    port: int | None = None
    tape: Tape = field(default_factory=Tape)


def main_by_hand(
    start: Path,
    environ: Mapping[str, str],
    *,
    port: int | None,
    record: Path | None,
    replay: Path | None,
) -> int:
    """`fleet proxy`: in the foreground, with a token for whoever started it."""
    places = locate(start)
    top = places.top or places.common_dir
    return run(
        top, environ, Options(by_hand=True, port=port, tape=Tape(record=record, replay=replay))
    )


def run(top: Path, environ: Mapping[str, str], options: Options, tell: Tell = say) -> int:
    """Until it is told to end. The exit code."""
    environ = dict(environ)
    config = configuration.load(top, environ)
    hide()  # the keys are in our memory: nobody of the same user may look
    forget(config.proxy.secret_names())  # nor anybody find them where /proc shows our beginnings
    places = locate(top)
    layout = layout_of(places, config)
    layout.prepare()
    logs.start(
        layout.logs / "proxy.log",
        form=config.env.log_format,
        role="proxy",
        to_stderr=options.by_hand,
        secrets=config.secrets(),
    )
    lock = hold(layout.proxy_lock, timeout_s=LOCK_WAIT_S)
    if lock is None:
        if options.by_hand:
            raise HeldError("a proxy already serves this repository: `fleet doctor` says where")
        return Exit.OK  # it has been adopted
    opened = open_state(places, config, layout, mends=options.by_hand)
    with lock, contextlib.closing(opened):
        db = opened.db
        tokens.revoke_by_hand(db)  # whoever had one was killed
        service = Service(config, layout, environ, options)
        with asyncio.Runner(loop_factory=_loop_factory) as runner:
            if not options.by_hand:
                return runner.run(service.run(lambda: None))
            if not is_held(layout.coordinator_lock):
                Controls(db).set("run-began", f"{time.time():.3f}")  # as far as budgets go
            token = tokens.issue_by_hand(db, "by-hand", time.time())
            try:
                return runner.run(service.run(lambda: service.introduce(token, tell)))
            finally:
                tokens.revoke(db, token)


def _loop_factory() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Service:
    def __init__(
        self, config: Config, layout: Layout, environ: Mapping[str, str], options: Options
    ) -> None:
        self._config = config
        self._layout = layout
        self._environ = environ
        self._options = options
        self._stop = asyncio.Event()
        self._lonely_since: float | None = None
        self._rested_at = 0  # requests
        self.port = self.metrics_port = 0

    async def run(self, ready: Callable[[], None]) -> int:
        with self._signals_caught():
            async with open_plant(
                self._config, self._layout, self._environ, self._options.tape
            ) as plant:
                server = await self._listen(plant)
                await server.open_door(self._layout.proxy_socket)
                metrics = await plant.listen_metrics(HOST, self._config.proxy.metrics_port)
                self.port, self.metrics_port = server.port, metrics.port
                proxyfile.write(self._layout.proxy_file, server.port, metrics.port)
                gc.collect()
                gc.freeze()
                gc.set_threshold(*GC_THRESHOLDS)
                log.info("listening on %s:%s", HOST, server.port)
                ready()
                try:
                    await self._until_over(plant)
                finally:
                    await server.drain(DRAIN_S)
                    await metrics.drain(0)
        return Exit.OK

    async def _listen(self, plant: Plant) -> Server:
        """On the port that was asked for, else on the one we had, else on any."""
        wanted = self._options.port or self._config.proxy.port
        if wanted:
            try:
                return await plant.listen(HOST, wanted)
            except OSError as error:
                raise FleetError(
                    f"port {wanted} cannot be had: {error.strerror}: set another [proxy] port"
                ) from error
        before = proxyfile.read(self._layout.proxy_file)
        if before is not None:
            try:
                return await plant.listen(HOST, before.port)
            except OSError:
                log.warning("port %s is taken: agents that were told of it lose us", before.port)
        return await plant.listen(HOST, 0)

    async def _until_over(self, plant: Plant) -> None:
        watch = SettingsWatch(self._config, self._layout.top, self._environ, plant.reports)
        while not self._stop.is_set() and not self._left_alone(plant):
            plant.tick()
            if plant.fault:
                raise StorageError(plant.fault)
            self._rest(plant)
            await watch.look(plant.settings, time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._stop.wait()

    def _rest(self, plant: Plant) -> None:
        """Give back what a rush took, once there is nobody to wait those few milliseconds."""
        came = plant.pipeline.rooms.rag.entered
        if plant.is_empty and came - self._rested_at >= RUSH:
            self._rested_at = came
            give_back_memory()

    def _left_alone(self, plant: Plant) -> bool:
        """Whoever started us by hand ends us; else we serve as long as somebody may ask."""
        now = time.monotonic()
        if self._options.by_hand or plant.busy or is_held(self._layout.coordinator_lock):
            self._lonely_since = None
        elif self._lonely_since is None:
            self._lonely_since = now
        return self._lonely_since is not None and now - self._lonely_since >= LONELY_S

    @contextlib.contextmanager
    def _signals_caught(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in caught:
            loop.add_signal_handler(number, self._stop.set)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)

    def introduce(self, token: str, tell: Tell) -> None:
        """What to put into the environment of a program that is to go through us."""
        url = f"http://{HOST}:{self.port}/a/{token}"
        tell(f"listening on http://{HOST}:{self.port}; metrics on port {self.metrics_port}")
        tell("A program finds its models here with these, until Ctrl-C:")
        tell(f"  ANTHROPIC_BASE_URL={url}")
        tell(f"  ANTHROPIC_AUTH_TOKEN={token}")
        tell(f"  OPENAI_BASE_URL={url}/v1")
        tell(f"  OPENAI_API_KEY={token}")
        tell(f"  GOOGLE_GEMINI_BASE_URL={url}")
        tell(f"  GEMINI_API_KEY={token}")
