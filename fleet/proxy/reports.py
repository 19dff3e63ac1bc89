"""What the proxy tells the fleet: that an attempt must end, that all must pause, what happened.

It goes into `state.db`, where workers and coordinator look. A thread writes, so that the event
loop never waits for a lock; the first error of the disk is told in `fault`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from fleet import control
from fleet.core.caller import Caller
from fleet.core.event import Event, Kind
from fleet.core.halt import Halt, HaltKind
from fleet.core.traffic import NANO
from fleet.proxy.flight import Flight
from fleet.proxy.pressure.breaker import State
from fleet.proxy.pressure.budget import Mark, Scope
from fleet.proxy.pressure.lane import Lane
from fleet.proxy.treasury import Refusal, next_day
from fleet.store import events, halts
from fleet.store.controls import Controls
from fleet.store.database import Database

log = logging.getLogger(__name__)

REMEMBERED = 1024
Write = Callable[[Database], object]


class Reports:
    """Told in the event loop. What was said once of an attempt is not said again."""

    def __init__(self, database: Path, wall: Callable[[], float] = time.time) -> None:
        self.fault = ""
        self._database = database
        self._wall = wall
        self._halted: OrderedDict[str, None] = OrderedDict()
        self._faults: set[str] = set()
        self._paused_until = 0.0
        self._writes: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Everything that was told is written."""
        self._writes.put(None)
        self._thread.join()

    # -- about attempts ---------------------------------------------------------------------

    def park(self, caller: Caller, until: float, why: str) -> None:
        """It would wait too long: its agent is to be stopped and to go on at `until`."""
        self._halt(caller, Halt(kind=HaltKind.PARK, until=until, reason=f"parked: {why}"))

    def stuck(self, caller: Caller, why: str) -> None:
        self._halt(caller, Halt(kind=HaltKind.STUCK, reason=f"stopped: {why}"))

    def turns(self, caller: Caller, turns: int) -> None:
        task, epoch = caller.task, caller.epoch
        self._writes.put(lambda db: halts.count_turns(db, task, epoch, turns))

    def spent(self, flight: Flight, refused: Refusal) -> None:
        """A task whose budget is spent has failed; any other spent budget ends or pauses the run,
        and its attempts are given back."""
        account, why = refused.account, refused.message
        if account is not None and account.scope is Scope.TASK:
            self._halt_all(flight, Halt(kind=HaltKind.OVERSPENT, reason=why))
            return
        self._halt_all(flight, Halt(kind=HaltKind.YIELD, reason=why))
        if account is not None and account.scope is Scope.DAY:
            self.pause(next_day(self._wall()), why)
        else:
            self._stop_the_fleet(why)

    def fault_of(self, flight: Flight, why: str) -> None:
        """No task of its model can go on: the fleet must be mended."""
        self._halt_all(flight, Halt(kind=HaltKind.YIELD, reason=why))
        if any(reader.caller.task for reader in flight.subscribers):
            self._stop_the_fleet(why)

    def _halt_all(self, flight: Flight, halt: Halt) -> None:
        for caller in {reader.caller for reader in flight.subscribers} | {flight.caller}:
            self._halt(caller, halt)

    def _halt(self, caller: Caller, halt: Halt) -> None:
        if not caller.task or caller.key in self._halted:
            return
        self._halted[caller.key] = None
        if len(self._halted) > REMEMBERED:
            self._halted.popitem(last=False)
        log.info("%s must end: %s", caller.key, halt.reason)
        self._writes.put(lambda db: halts.order(db, caller.task, caller.epoch, halt))

    # -- about the fleet --------------------------------------------------------------------

    def pause(self, until: float, why: str) -> None:
        """No new claims before."""
        if until > self._paused_until + 1.0:
            self._paused_until = until
            now = self._wall()
            self._writes.put(lambda db: control.pause_until(Controls(db), until, why, now=now))

    def _stop_the_fleet(self, why: str) -> None:
        if why not in self._faults:
            self._faults.add(why)
            now = self._wall()
            self._writes.put(lambda db: control.fault(Controls(db), why, now=now))

    def breaker(self, lane: Lane) -> None:
        """It has turned."""
        breaker = lane.breaker
        why = f": {breaker.why}" if breaker.state is not State.CLOSED else ""
        self._tell(Kind.BREAKER, f"{_upstream(lane)}, {lane.model}: {breaker.state}{why}")

    def key_refused(self, account: str, model: str, why: str) -> None:
        self._tell(Kind.KEY_REFUSED, f"{account}, {model}: {why}")

    def mark(self, mark: Mark) -> None:
        """A part of a budget is spent."""
        scope = f"{mark.account.scope} {mark.account.name}".strip()
        spent, limit = mark.spent / NANO, mark.limit / NANO
        self._tell(Kind.BUDGET, f"{scope}: ${spent:,.2f} of ${limit:,.2f} spent")

    def settings(self, what: str) -> None:
        """fleet.toml was changed while we run."""
        self._tell(Kind.SETTINGS, what)

    def _tell(self, kind: Kind, what: str) -> None:
        event = Event(kind=kind, at=self._wall(), reason=what)
        log.info("%s: %s", kind, what)
        self._writes.put(lambda db: events.emit(db, event))

    # -- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        db: Database | None = None
        try:
            while (write := self._writes.get()) is not None:
                if db is None:
                    db = Database(self._database)
                write(db)
        except Exception as error:
            self.fault = f"{self._database}: {error}: the fleet cannot be told anything any more"
        finally:
            if db is not None:
                db.close()


def _upstream(lane: Lane) -> str:
    return lane.account.partition("/")[0]
