"""The processes a run keeps alive: workers, one lander, and one proxy if a model is needed.

What lives already is adopted by its lock. Only the proxy is given the keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleet import control
from fleet.control import Stop
from fleet.core.errors import Exit, FleetError, StorageError
from fleet.core.event import Event, Kind
from fleet.core.task import HELD
from fleet.process.child import start_module
from fleet.process.tree import ATTEMPT_MARK, kill_tree
from fleet.store import events
from fleet.store.claims import is_held
from fleet.wiring import Fleet

TICK_S = 0.1
RESTART_S, RESTART_CAP_S = 0.1, 10.0  # back-off of a child that keeps dying
STEADY_S = 30.0  # a child that lived this long starts its back-off afresh
PROXY_STARTS = 3  # that failed in a row, before the fleet pauses itself
PROXY_START_S = 2.0  # it ended sooner than this: it had not begun to serve
PROXY_DRAIN_S = 45.0  # for it to end after SIGTERM
# Workers are only cancelled when the run has met a fault: their attempts are not waited for. Two
# different signals, since one that is pending already is not sent again.
AT_ONCE = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    code: int
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """What the proxy is told about recordings: exchanges to keep, or to answer from."""

    record: Path | None = None
    replay: Path | None = None

    @property
    def options(self) -> tuple[str, ...]:
        named = (("--record", self.record), ("--replay", self.replay))
        return tuple(word for name, path in named if path for word in (name, str(path)))


class Start(Protocol):
    """`fleet.process.child.start_module`, or what stands for it in a test."""

    async def __call__(
        self, module: str, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]
    ) -> asyncio.subprocess.Process: ...


class Children:
    def __init__(
        self,
        fleet: Fleet,
        environ: Mapping[str, str],
        tape: Tape,
        *,
        stopping: Callable[[], bool],
        start: Start = start_module,
    ) -> None:
        secret = fleet.config.proxy.secret_names()
        self._fleet = fleet
        self._with_keys = dict(environ)
        self._environ = {name: value for name, value in environ.items() if name not in secret}
        self._tape = tape
        self._stopping = stopping
        self._start = start

    async def keep_worker(self, number: int) -> None:
        """One slot: the worker that holds it, or a new one, until the run is over."""
        name = f"agent-{number}"
        slot = self._fleet.layout.worker_lock(name)
        self._tell_adopted(slot, name)
        backoff = RESTART_S
        while True:
            await _freed(slot)  # adopted: its lock tells us when it ends
            if self._stopping():
                return
            ended = await self._run(
                "fleet.worker", name, ("--number", str(number)), ended_by=AT_ONCE
            )
            await self._sweep_after(name)
            if self._stopping():
                return
            backoff = _next(backoff, ended)
            if ended.code != 0:
                await asyncio.sleep(backoff)

    async def keep_lander(self) -> None:
        backoff = RESTART_S
        while True:
            await _freed(self._fleet.layout.lander_lock)
            ended = await self._run("fleet.landing", "lander")
            backoff = _next(backoff, ended)
            await asyncio.sleep(backoff)

    async def keep_proxy(self, wanted: asyncio.Event) -> None:
        """From the moment a task wants a model. One that cannot even start pauses the fleet; one
        that refuses its configuration from the first ends the run."""
        await wanted.wait()
        lock = self._fleet.layout.proxy_lock
        self._tell_adopted(lock, "proxy")
        backoff, failures, has_served = RESTART_S, 0, is_held(lock)
        while True:
            await _freed(lock)
            ended = await self._run(
                "fleet.proxy",
                "proxy",
                self._tape.options,
                env=self._with_keys,
                patience_s=PROXY_DRAIN_S,
            )
            if ended.code == Exit.CONFIG and not has_served:
                raise FleetError(ended.reason.removeprefix("fleet proxy: "))
            served = ended.seconds > PROXY_START_S
            has_served = has_served or served
            failures = failures + 1 if ended.code > 0 and not served else 0
            if failures == PROXY_STARTS:
                why = f"the proxy cannot start: {ended.reason or f'exit code {ended.code}'}"
                control.fault(self._fleet.controls, why, now=time.time())
            backoff = _next(backoff, ended)
            await asyncio.sleep(backoff)

    async def _run(
        self,
        module: str,
        name: str,
        arguments: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        patience_s: float | None = None,
        ended_by: Sequence[signal.Signals] = (signal.SIGTERM,),
    ) -> Exited:
        """Start a child, wait for its end, and ask it to end when we are cancelled."""
        top, began = self._fleet.layout.top, time.monotonic()
        child = await self._start(
            module, ("--top", str(top), *arguments), cwd=top, env=env or self._environ
        )
        self._emit(Kind.WORKER_STARTED, name, number=float(child.pid))
        try:
            _, complaint = await child.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                for number in ended_by:
                    child.send_signal(number)
            try:
                async with asyncio.timeout(patience_s):
                    await child.communicate()
            except TimeoutError:
                child.kill()
                await child.communicate()
            raise
        code = child.returncode or 0
        reason = complaint.decode("utf-8", "replace").strip()[-2000:] if code else ""
        if code == Exit.IO:
            # What one process could not write no other should try to: stop, half nothing done.
            raise StorageError(reason or f"{name} met a disk that refuses")
        self._emit(Kind.WORKER_EXITED, name, number=float(code), reason=reason)
        return Exited(code=code, reason=reason, seconds=time.monotonic() - began)

    async def _sweep_after(self, worker: str) -> None:
        """End what a dead worker's attempt left running; claiming the task again does the rest."""
        layout = self._fleet.layout
        for view in self._fleet.roster.tasks(states=HELD):
            if view.worker == worker and not is_held(layout.claim_lock(view.task.id)):
                mark = layout.mark(view.task.id, view.epoch)
                await asyncio.to_thread(kill_tree, mark=ATTEMPT_MARK, value=mark)

    def _tell_adopted(self, lock: Path, name: str) -> None:
        if is_held(lock):
            self._emit(Kind.WORKER_ADOPTED, name)

    def _emit(self, kind: Kind, name: str, *, number: float = 0.0, reason: str = "") -> None:
        event = Event(kind=kind, at=time.time(), worker=name, number=number, reason=reason)
        events.emit(self._fleet.db, event)


async def _freed(lock: Path) -> None:
    while is_held(lock):
        await asyncio.sleep(TICK_S)


def _next(backoff: float, ended: Exited) -> float:
    return RESTART_S if ended.seconds > STEADY_S else min(backoff * 2, RESTART_CAP_S)


def stopping(fleet: Fleet) -> bool:
    return control.read(fleet.controls).stop is not Stop.NO
