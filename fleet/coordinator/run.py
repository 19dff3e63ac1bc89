"""One run, start to finish.

The coordinator decides nothing about tasks: workers claim and the lander lands whether it lives
or not. It starts them, restarts them, notices when there is nothing left, and ends the run. Kill
it at any instant and start it again: what still lives is adopted by its lock, and the run goes
on where the ledger says it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fleet import control
from fleet.control import Stop
from fleet.coordinator.children import TICK_S, Children, Tape, stopping
from fleet.core.errors import ConfigError, HeldError, unwrapped
from fleet.core.event import Event, Kind
from fleet.core.state import Counts
from fleet.core.task import TaskState
from fleet.process.identity import myself
from fleet.process.kernel import forget, hide
from fleet.process.tree import become_subreaper
from fleet.store import events
from fleet.store.claims import Held, hold
from fleet.store.taskfiles import fingerprint
from fleet.wiring import Fleet
from fleet.worker.preflight import take_tasks
from fleet.worker.workspace import sweep

log = logging.getLogger(__name__)

LOCK_WAIT_S = 0.3  # somebody may only be asking whether a coordinator lives
FILES_S = 1.0  # between looks whether the task files have changed
DRAIN_S = 60.0  # SIGTERM: attempts in hand get this long, then they are ended

Tell = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a run ended."""

    counts: Counts
    fault: str = ""  # why the fleet paused itself
    interrupted: bool = False


class Coordinator:
    """One per repository, proven by its lock."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        agents: int,
        environ: Mapping[str, str],
        tell: Tell,
        tape: Tape | None = None,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._fleet = fleet
        self._agents = agents
        self._children = Children(fleet, environ, tape or Tape(), stopping=lambda: stopping(fleet))
        self._model_wanted = asyncio.Event()
        self._tell = tell
        self._drain_s = drain_s
        self._told = events.last_seq(fleet.db)
        self._wake = asyncio.Event()
        self._signals = 0
        self._deadline: float | None = None
        self._files = ""

    async def run(self) -> Summary:
        """Until every task has ended, or somebody stops it."""
        with take_lock(self._fleet):
            self._begin()
            with unwrapped(), self._signals_caught():
                await self._children_and_all()
            sweep(self._fleet)
            return self._end()

    async def _children_and_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            lander = group.create_task(self._children.keep_lander())
            proxy = group.create_task(self._children.keep_proxy(self._model_wanted))
            workers = [
                group.create_task(self._children.keep_worker(number))
                for number in range(1, self._agents + 1)
            ]
            follower = group.create_task(self._follow())
            await self._until_over()
            self._stop_workers()
            await asyncio.wait(workers)
            lander.cancel()
            proxy.cancel()
            follower.cancel()

    def _begin(self) -> None:
        me = myself("coordinator")
        controls = self._fleet.controls
        control.begin(controls, agents=self._agents)
        run = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        controls.set("run", run)
        controls.set("run-began", f"{time.time():.3f}")
        controls.set("coordinator", json.dumps({"host": me.host, "pid": me.pid, "run": run}))
        sweep(self._fleet)
        self._fleet.space.keep_reserve()
        forget(self._fleet.config.proxy.secret_names())  # the proxy's environment has been made
        hide()
        become_subreaper()  # what a killed worker leaves comes to us, and can be swept
        self._emit(Event(kind=Kind.RUN_STARTED, at=time.time(), number=float(self._agents)))
        self._emit(Event(kind=Kind.SANDBOX, at=time.time(), reason=str(self._fleet.sandbox)))
        paused = control.read(controls).paused
        waits = control.read(controls).waits(time.time())
        if waits:
            self._emit(Event(kind=Kind.PAUSED, at=time.time(), reason=waits))
        if paused:
            why = f"{paused}: nothing is claimed until `fleet resume`"
            self._emit(Event(kind=Kind.PAUSED, at=time.time(), reason=why))

    def _end(self) -> Summary:
        self._fleet.controls.set("stop", "")  # it was for this run
        self._fleet.space.drop_reserve()
        orders = control.read(self._fleet.controls)
        counts = self._fleet.roster.counts()
        self._emit(
            Event(
                kind=Kind.RUN_ENDED, at=time.time(), number=float(counts.open), reason=orders.paused
            )
        )
        self._pass_on_events()
        return Summary(
            counts=counts,
            fault=orders.paused if orders.faulty else "",
            interrupted=self._signals > 0,
        )

    async def _until_over(self) -> None:
        """Wait for the end, looking after task files and orders meanwhile."""
        looked = 0.0
        while not self._is_over():
            self._wake.clear()
            if time.monotonic() - looked >= FILES_S:
                looked = time.monotonic()
                self._reload_tasks()
                self._fleet.space.keep_reserve()
                control.end_of_wait(self._fleet.controls, now=time.time())
                self._look_for_models()
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._deadline = None
                self._order(Stop.KILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()

    def _is_over(self) -> bool:
        counts = self._fleet.roster.counts()
        if counts.open == 0:
            return True
        orders = control.read(self._fleet.controls)
        held = counts.of(TaskState.CLAIMED, TaskState.RUNNING)
        in_queue = counts.of(TaskState.SUBMITTED, TaskState.LANDING)
        if orders.stop is Stop.KILL:
            return True
        if orders.stop is Stop.DRAIN or orders.faulty:
            return held == 0 and (in_queue == 0 or orders.faulty)
        return False

    def _reload_tasks(self) -> None:
        """Pick up tasks added while running; a broken edit changes nothing until it is mended."""
        folder = self._fleet.layout.task_folder(self._fleet.config.fleet.tasks)
        seen = fingerprint(folder)
        if seen == self._files:
            return
        self._files = seen
        try:
            take_tasks(self._fleet)
        except ConfigError as error:
            log.warning("task files not taken over: %s", error)

    def _look_for_models(self) -> None:
        """An open task whose agent needs a model wants a proxy, for the rest of the run."""
        if not self._model_wanted.is_set():
            fleet = self._fleet
            needing = fleet.agents_with_model
            if needing and needing & fleet.ledger.agents_wanted():
                self._model_wanted.set()

    # -- stopping ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals_caught(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        """First: drain. Second: end agents now. Third: leave at once; a restart converges."""
        self._signals += 1
        if self._signals >= 3:
            os._exit(130)
        if number == signal.SIGTERM and self._signals == 1:
            self._deadline = time.monotonic() + self._drain_s
        self._order(Stop.DRAIN if self._signals == 1 else Stop.KILL)
        self._wake.set()

    def _order(self, how: Stop) -> None:
        control.stop(self._fleet.controls, how, now=time.time())

    def _stop_workers(self) -> None:
        """There is nothing left to claim: idle workers may go."""
        if not stopping(self._fleet):
            control.finish(self._fleet.controls)

    # -- telling ----------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Pass every event on, whoever wrote it, in the order of the ledger."""
        version = -1
        while True:
            seen = self._fleet.db.version()
            if seen != version:
                version = seen
                self._pass_on_events()
            await asyncio.sleep(TICK_S)

    def _pass_on_events(self) -> None:
        for event in events.since(self._fleet.db, self._told):
            self._told = event.seq
            self._tell(event)

    def _emit(self, event: Event) -> None:
        events.emit(self._fleet.db, event)


def take_lock(fleet: Fleet) -> Held:
    """The right to coordinate this repository, or who has it. In less than a second."""
    lock = hold(fleet.layout.coordinator_lock, timeout_s=LOCK_WAIT_S)
    if lock is not None:
        return lock
    found = fleet.controls.get("coordinator")
    holder = json.loads(found) if found else {}
    who = f"pid {holder['pid']} on {holder['host']}, run {holder['run']}" if holder else "another"
    raise HeldError(
        f"another coordinator holds this repository ({who}): watch it with `fleet status`, end it "
        "with `fleet stop`"
    )
