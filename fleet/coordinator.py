"""One run, start to finish: children kept alive, orders obeyed, events told, in one task group.

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
from fleet.core.errors import ConfigError, Exit, FleetError, HeldError, StorageError
from fleet.core.event import Event, Kind
from fleet.core.state import Counts
from fleet.core.task import HELD, TaskState
from fleet.process.child import start_module
from fleet.process.identity import myself
from fleet.process.tree import ATTEMPT_MARK, become_subreaper, kill_tree
from fleet.store import events
from fleet.store.claims import Held, hold, is_held
from fleet.store.taskfiles import fingerprint
from fleet.wiring import Fleet
from fleet.worker.preflight import take_tasks

log = logging.getLogger(__name__)

LOCK_WAIT_S = 0.3  # somebody may only be asking whether a coordinator lives
TICK_S = 0.1
FILES_S = 1.0  # between looks whether the task files have changed
RESTART_S, RESTART_CAP_S = 0.1, 10.0  # back-off of a child that keeps dying
STEADY_S = 30.0  # a child that lived this long starts its back-off afresh
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
        self, fleet: Fleet, *, agents: int, environ: Mapping[str, str], tell: Tell
    ) -> None:
        self._fleet = fleet
        self._agents = agents
        self._environ = environ
        self._tell = tell
        self._told = events.last_seq(fleet.db)
        self._wake = asyncio.Event()
        self._signals = 0
        self._deadline: float | None = None
        self._files = ""

    async def run(self) -> Summary:
        """Until every task has ended, or somebody stops it."""
        with take_lock(self._fleet):
            self._begin()
            try:
                with self._signals_caught():
                    await self._children_and_all()
            except BaseExceptionGroup as group:
                known = group.subgroup(FleetError)
                if known is None:
                    raise
                raise _first(known) from None
            return self._end()

    async def _children_and_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            lander = group.create_task(self._keep_lander())
            workers = [
                group.create_task(self._keep_worker(number))
                for number in range(1, self._agents + 1)
            ]
            follower = group.create_task(self._follow())
            await self._until_over()
            self._stop_workers()
            await asyncio.wait(workers)
            lander.cancel()
            follower.cancel()

    def _begin(self) -> None:
        me = myself("coordinator")
        controls = self._fleet.controls
        control.begin(controls, agents=self._agents)
        run = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        controls.set("run", run)
        controls.set("coordinator", json.dumps({"host": me.host, "pid": me.pid, "run": run}))
        become_subreaper()  # what a killed worker leaves comes to us, and can be swept
        self._emit(Event(kind=Kind.RUN_STARTED, at=time.time(), number=float(self._agents)))
        paused = control.read(controls).paused
        if paused:
            why = f"{paused}: nothing is claimed until `fleet resume`"
            self._emit(Event(kind=Kind.PAUSED, at=time.time(), reason=why))

    def _end(self) -> Summary:
        self._fleet.controls.set("stop", "")  # it was for this run
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

    # -- children ---------------------------------------------------------------------------

    async def _keep_worker(self, number: int) -> None:
        """One slot: the worker that holds it, or a new one, until the run is over."""
        slot = self._fleet.layout.worker_lock(f"agent-{number}")
        if is_held(slot):
            self._emit(Event(kind=Kind.WORKER_ADOPTED, at=time.time(), worker=f"agent-{number}"))
        backoff = RESTART_S
        while True:
            while is_held(slot):
                await asyncio.sleep(TICK_S)  # adopted: its lock tells us when it ends
            if self._stopping():
                return
            began = time.monotonic()
            code = await self._run_child("fleet.worker", f"agent-{number}", "--number", str(number))
            await self._sweep_after(f"agent-{number}")
            if self._stopping():
                return
            backoff = RESTART_S if time.monotonic() - began > STEADY_S else backoff * 2
            if code != 0:
                await asyncio.sleep(min(backoff, RESTART_CAP_S))

    async def _keep_lander(self) -> None:
        backoff = RESTART_S
        while True:
            while is_held(self._fleet.layout.lander_lock):
                await asyncio.sleep(TICK_S)
            began = time.monotonic()
            await self._run_child("fleet.landing", "lander")
            backoff = RESTART_S if time.monotonic() - began > STEADY_S else backoff * 2
            await asyncio.sleep(min(backoff, RESTART_CAP_S))

    async def _run_child(self, module: str, name: str, *arguments: str) -> int:
        """Start a child, wait for its end, and ask it to end when we are cancelled."""
        top = self._fleet.layout.top
        child = await start_module(
            module, ("--top", str(top), *arguments), cwd=top, env=self._environ
        )
        self._emit(
            Event(kind=Kind.WORKER_STARTED, at=time.time(), worker=name, number=float(child.pid))
        )
        try:
            _, complaint = await child.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            await child.communicate()
            raise
        code = child.returncode or 0
        reason = complaint.decode("utf-8", "replace").strip()[-500:] if code else ""
        if code == Exit.IO:
            # What one process could not write no other should try to: stop, half nothing done.
            raise StorageError(reason or f"{name} met a disk that refuses")
        self._emit(
            Event(
                kind=Kind.WORKER_EXITED,
                at=time.time(),
                worker=name,
                number=float(code),
                reason=reason,
            )
        )
        return code

    async def _sweep_after(self, worker: str) -> None:
        """End what a dead worker's attempt left running; claiming the task again does the rest."""
        layout = self._fleet.layout
        for view in self._fleet.roster.tasks(states=HELD):
            if view.worker == worker and not is_held(layout.claim_lock(view.task.id)):
                mark = layout.mark(view.task.id, view.epoch)
                await asyncio.to_thread(kill_tree, mark=ATTEMPT_MARK, value=mark)

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
            self._deadline = time.monotonic() + DRAIN_S
        self._order(Stop.DRAIN if self._signals == 1 else Stop.KILL)
        self._wake.set()

    def _order(self, how: Stop) -> None:
        control.stop(self._fleet.controls, how, now=time.time())

    def _stop_workers(self) -> None:
        """There is nothing left to claim: idle workers may go."""
        if not self._stopping():
            control.finish(self._fleet.controls)

    def _stopping(self) -> bool:
        return control.read(self._fleet.controls).stop is not Stop.NO

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


def _first(group: BaseExceptionGroup[FleetError]) -> FleetError:
    """One error to tell of: the others are its consequences."""
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")


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
