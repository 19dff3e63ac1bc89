"""The life of a worker: claim, carry out, record, again; until there is nothing left to do.

A worker started by `fleet run` looks whether its coordinator lives before each claim. When it
does not, the worker finishes what it has in hand and ends; a new `fleet run` that started
meanwhile holds the same lock, and so has adopted it. A worker started by hand needs no
coordinator: its submissions wait for the next lander. Without a proxy no task is claimed whose
agent needs a model.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace

from fleet import control
from fleet.core.attempt import Claim, Outcome, Owner
from fleet.core.errors import FleetError, NoSpaceError, StaleError, StorageError
from fleet.core.policy import Candidate
from fleet.core.task import TaskState
from fleet.process.stop import StopFlag
from fleet.process.tree import ATTEMPT_MARK, kill_tree
from fleet.store import halts, proxyfile, sessions
from fleet.store.claims import is_held
from fleet.store.profiles import missing_program
from fleet.store.space import refused
from fleet.wiring import Fleet
from fleet.worker.attempt import Result, carry_out
from fleet.worker.claiming import Claimer, Taken
from fleet.worker.place import close_place
from fleet.worker.workspace import salvage

log = logging.getLogger(__name__)

IDLE_S = 0.1  # between looks for work: a dead worker's task is found within this time
HELD_BACK_S = 0.5  # passing over thousands of tasks that need a proxy takes milliseconds
START_FAILURES = 3  # in a row, before the fleet pauses itself
STOPPED, CANCELLED = "stopped", "cancelled"  # by a person, which is the last word
NOT_STARTED = "not-started"  # control row: how many in a row


_ORDERED = (STOPPED, CANCELLED)
# How an attempt may have ended for want of answers.
_HALTED = (Outcome.ABANDONED, Outcome.CRASHED, Outcome.REFUSED, Outcome.TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What this worker is."""

    owner: Owner
    number: int | None  # agent-<number> of a run; None when started by hand


class Worker:
    def __init__(self, fleet: Fleet, post: Post, stop: StopFlag, rng: random.Random) -> None:
        self._fleet = fleet
        self._post = post
        self._stop = stop
        self._rng = rng
        self._claimer = Claimer(
            layout=fleet.layout,
            ledger=fleet.ledger,
            owner=post.owner,
            clean_up=self._clean_up,
            rng=rng,
        )
        self._version = -1
        self._orders = control.Orders()
        self._why: str | None = None  # why the attempt in hand must end; stays said
        self._ask_again = 0.0  # while tasks wait for a proxy: when to look for others
        self._told = False  # that there is no proxy

    def run(self) -> None:
        """Until told to stop, left alone by the coordinator, or out of work."""
        while not self._should_leave():
            taken = self.claim() if self.may_claim() else None
            if taken is not None:
                self.work(taken)
            elif self._out_of_work():
                return
            else:
                self._stop.wait(IDLE_S)

    def may_claim(self) -> bool:
        """Whether orders and disks allow anything new. Want of room is said once, by whoever
        notices first."""
        self._look()
        if not self._orders.may_claim(time.time()):
            return False
        lacking = self._fleet.space.lacking()
        if bool(lacking) != bool(self._orders.no_room):
            control.tell_room(self._fleet.controls, lacking, now=time.time())
            self._orders = control.read(self._fleet.controls)  # our own writes move no version
        return not lacking

    def claim(self) -> Taken | None:
        fleet = self._fleet
        if not fleet.agents_with_model or proxyfile.live(fleet.layout) is not None:
            return self._claimer.next()
        if time.monotonic() < self._ask_again:
            self._claimer.bury_the_dead()
            return None
        taken = self._claimer.next(without=fleet.agents_with_model)
        if taken is None and fleet.ledger.ready(now=time.time(), limit=1):
            self._ask_again = time.monotonic() + HELD_BACK_S
            if self._post.number is None and not self._told:  # a run brings a proxy of its own
                self._told = True
                log.warning("tasks wait for a proxy: their agents need a model; run `fleet proxy`")
        return taken

    def work(self, taken: Taken) -> None:
        """One attempt under its lock, and what becomes of it."""
        claim = taken.claim
        self._why = None
        keep = False
        with taken.lock:
            try:
                result = self._halted(claim, self._carry_out(claim))
                if result.outcome is not None:
                    keep = self._record(claim, result, result.outcome)
            except StaleError as stale:
                log.warning("dropped: %s", stale)
                self._sweep(claim.task.id, claim.epoch)
            if not keep:
                close_place(self._fleet, claim)

    def _carry_out(self, claim: Claim) -> Result:
        try:
            profile = self._fleet.profile_for(claim.task)
            with refused(self._fleet.layout.workspace(claim.task.id, claim.epoch)):
                return carry_out(self._fleet, claim, profile, lambda: self._stopped(claim))
        except FleetError as error:
            if isinstance(error, StorageError) and not isinstance(error, NoSpaceError):
                raise  # a disk that fails: whatever is written now may not be believed
            # Not the task's fault: nothing was proven, and the next task would fare the same.
            log.exception("attempt %s cannot go on", claim.key)
            return Result(
                outcome=Outcome.ABANDONED, reason=str(error), give_back=True, fault=str(error)
            )

    def _halted(self, claim: Claim, result: Result) -> Result:
        """What became of an attempt that the proxy has ended. Work that stands goes on without
        it; and an agent may have ended by itself, for it got no answer any more."""
        if result.outcome not in _HALTED or result.fault or self._why in _ORDERED:
            return result
        halt = halts.find(self._fleet.db, claim)
        if halt is None:
            return result
        return replace(
            result, outcome=halt.outcome, reason=halt.reason, give_back=True, until=halt.until
        )

    def _record(self, claim: Claim, result: Result, outcome: Outcome) -> bool:
        """Whether the next attempt may go on where this one was stopped."""
        step = self._fleet.ledger.ended(
            claim.task.id,
            claim.epoch,
            outcome,
            result.reason,
            now=time.time(),
            rng=self._rng,
            findings=result.findings,
            give_back=result.give_back,
            until=result.until,
        )
        log.info("%s ended %s: %s", claim.key, outcome, step.reason)
        fault = result.fault or self._start_fault(claim, result.not_started)
        if fault:
            control.fault(self._fleet.controls, fault, now=time.time())
        waits = step.state is TaskState.PARKED or (
            outcome is Outcome.ABANDONED and step.state is TaskState.PENDING
        )
        return waits and sessions.find(self._fleet.db, claim.task.id, claim.epoch) is not None

    def _start_fault(self, claim: Claim, not_started: str) -> str:
        """A program that is missing is at fault at once, any other failed start the third time
        in a row, whichever workers they happen to."""
        controls = self._fleet.controls
        if not not_started:
            if controls.get(NOT_STARTED):
                controls.set(NOT_STARTED, "")
            return ""
        failures = int(controls.get(NOT_STARTED) or "0") + 1
        controls.set(NOT_STARTED, str(failures))
        profile = self._fleet.profile_for(claim.task)
        missing = missing_program(profile, self._fleet.config.env.path)
        return not_started if missing or failures >= START_FAILURES else ""

    def _stopped(self, claim: Claim) -> str | None:
        """Why the attempt in hand must end now; None while it may go on."""
        if self._why is None:
            if self._stop.killing:
                self._why = STOPPED
            elif self._look():
                halt = halts.find(self._fleet.db, claim)
                if self._orders.stop is control.Stop.KILL:
                    self._why = STOPPED
                elif self._fleet.ledger.cancel_asked(claim):
                    self._why = CANCELLED
                elif halt is not None:
                    self._why = halt.reason
        return self._why

    def _should_leave(self) -> bool:
        self._look()
        if self._stop.draining or self._orders.stop is not control.Stop.NO:
            return True
        number, agents = self._post.number, self._orders.agents
        if number is None:
            return False
        if agents is not None and number > agents:
            return True
        return not is_held(self._fleet.layout.coordinator_lock)

    def _out_of_work(self) -> bool:
        """By hand: nothing can become ready any more without a lander, or nothing is open."""
        if self._post.number is not None:
            return False
        counts = self._fleet.roster.counts()
        moving = (TaskState.PENDING, TaskState.PARKED, TaskState.CLAIMED, TaskState.RUNNING)
        if counts.of(*moving) == 0:
            return True
        if counts.of(TaskState.PARKED):
            return False
        alone = not is_held(self._fleet.layout.lander_lock)
        nothing_moves = counts.of(TaskState.CLAIMED, TaskState.RUNNING) == 0
        return alone and nothing_moves and not self._fleet.ledger.may_become_ready()

    def _look(self) -> bool:
        """Re-read the orders when anything was committed; whether it was."""
        version = self._fleet.db.version()
        if version == self._version:
            return False
        self._version = version
        self._orders = control.read(self._fleet.controls)
        return True

    def _clean_up(self, candidate: Candidate) -> None:
        self._sweep(candidate.id, candidate.epoch)
        salvage(self._fleet, candidate.id, candidate.epoch)

    def _sweep(self, task: str, epoch: int) -> None:
        kill_tree(mark=ATTEMPT_MARK, value=self._fleet.layout.mark(task, epoch))
