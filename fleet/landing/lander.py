"""The merge queue: each turn looks at ledger and refs, decides on one step, and takes it.

DESIGN. Crash-only: nothing is remembered between turns. What is about to happen is written to
the ledger, then the branch moves by compare-and-swap, then the ledger says it happened; after a
crash the first question of the next turn is whether the branch has the commit. A proven commit
lands as it is when the tip has held; otherwise the submissions are stacked on the new tip and
gated together, and halved until the culprit is known when that fails.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from fleet import control
from fleet.core.attempt import Outcome
from fleet.core.report import GateReport, Verdict
from fleet.core.task import TaskState
from fleet.gate.candidate import Candidate, build
from fleet.gate.cleanroom import Caller
from fleet.landing.branch import Branch
from fleet.repo.tip import Tip
from fleet.store.queue import Submission
from fleet.wiring import Fleet, proven_commit

log = logging.getLogger(__name__)
AFTER_SUBMISSION = frozenset({TaskState.SUBMITTED, TaskState.LANDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """A submission merged onto the one before it, ready to be gated with it."""

    submission: Submission
    candidate: Candidate
    commit: str


class Lander:
    def __init__(self, fleet: Fleet, branch: Branch, by: Caller, rng: random.Random) -> None:
        self._fleet = fleet
        self._branch = branch
        self._by = by
        self._rng = rng

    def turn(self) -> bool:
        """One step; whether anything was done."""
        tip = self._branch.look()
        if tip is None or control.read(self._fleet.controls).faulty:
            return False
        queue = self._fleet.queue.waiting()
        unfinished = [entry for entry in queue if entry.state is TaskState.LANDING]
        if unfinished:
            self._recover(unfinished, tip)
            return True
        cancelled = [entry for entry in queue if entry.cancelled]
        if cancelled:
            for entry in cancelled:
                self._end(entry, Outcome.CANCELLED, "cancelled")
            return True
        if not queue:
            return self._branch.publish(tip)
        if queue[0].base != tip.commit and self._has_landed(queue[:1], tip):
            return True
        if queue[0].base == tip.commit:
            self._land([(queue[0], queue[0].merge)], tip)
        else:
            self._settle(self._batch(queue), tip)
        return True

    def _batch(self, queue: Sequence[Submission]) -> list[Submission]:
        """The head of the queue, and what may be judged by the same rule about tests."""
        alike = [entry for entry in queue if entry.task.tests is queue[0].task.tests]
        return alike[: self._fleet.config.landing.batch]

    def _recover(self, unfinished: Sequence[Submission], tip: Tip) -> None:
        """A lander died between its plan and its record: the branch knows which came true."""
        landed = [entry for entry in unfinished if self._branch.has(entry.merge, tip)]
        if landed:
            self._fleet.queue.landed([(entry, entry.merge) for entry in landed], now=time.time())
        for entry in unfinished:
            if entry not in landed:
                self._fleet.queue.returned(entry, now=time.time())

    def _has_landed(self, batch: Sequence[Submission], tip: Tip) -> bool:
        """A git can outlive the lander that started it, and move the branch after the next one has
        looked. Such a landing is no submission any more."""
        plan = [(entry, entry.merge) for entry in batch if self._branch.has(entry.merge, tip)]
        if plan:
            self._fleet.queue.landing(plan, now=time.time())
            self._fleet.queue.landed(plan, now=time.time())
        return bool(plan)

    def _settle(self, batch: Sequence[Submission], tip: Tip) -> None:
        """Land what passes together; halve what does not, down to each culprit."""
        stack = self._stack(batch, tip)
        if not stack:
            return
        report = self._prove(stack)
        if report.verdict is Verdict.PASS:
            self._land([(stacked.submission, stacked.commit) for stacked in stack], tip)
        elif report.base_at_fault:
            why = f"the gate cannot run here: {report.note}"
            control.fault(self._fleet.controls, why, now=time.time())
        elif len(stack) == 1:
            self._reject(stack[0].submission, report)
        else:
            middle = (len(stack) + 1) // 2
            log.info("batch of %d failed: halving it", len(stack))
            self._settle([stacked.submission for stacked in stack[:middle]], tip)
            now_at = self._branch.look()
            if now_at is not None:
                self._settle([stacked.submission for stacked in stack[middle:]], now_at)

    def _prove(self, stack: Sequence[Stacked]) -> GateReport:
        gate = self._fleet.gate
        extra = [command for stacked in stack for command in stacked.submission.task.gate]
        candidates = [stacked.candidate for stacked in stack]
        known = gate.is_known(candidates[-1].tree, extra, self._by)
        with nullcontext() if known else gate.room.slot(self._by):
            report = gate.prove(candidates, extra=extra, by=self._by)
        self._branch.tell_gated(report, [stacked.submission.task.id for stacked in stack])
        return report

    def _stack(self, batch: Sequence[Submission], tip: Tip) -> list[Stacked]:
        """Merge each onto the one before. What does not merge with the tip itself goes back;
        what only clashes with its neighbours waits for a turn of its own."""
        fleet = self._fleet
        stack: list[Stacked] = []
        for entry in batch:
            candidate = build(
                fleet.hub,
                entry.task,
                base=stack[-1].commit if stack else tip.commit,
                head=entry.head,
                rules=fleet.rules,
                checks=fleet.gate.checks,
            )
            if candidate.stands:
                commit = proven_commit(
                    fleet,
                    entry.task,
                    entry.epoch,
                    candidate,
                    head=entry.head,
                    at=entry.submitted_at,
                )
                stack.append(Stacked(submission=entry, candidate=candidate, commit=commit))
            elif not stack:
                self._turn_away(entry, candidate)
        return stack

    def _turn_away(self, entry: Submission, candidate: Candidate) -> None:
        if candidate.conflicts:
            listed = ", ".join(candidate.conflicts)
            findings = tuple(f"conflict: {path}" for path in candidate.conflicts)
            self._end(entry, Outcome.CONFLICT, f"conflict in {listed}", findings)
        else:
            self._end(entry, Outcome.REFUSED, candidate.refusal)

    def _reject(self, entry: Submission, report: GateReport) -> None:
        outcome = Outcome.REJECTED if report.verdict is Verdict.FAIL else Outcome.UNPROVEN
        reason = f"passed alone, but not merged with what has landed since: {report.headline}"
        self._end(entry, outcome, reason, tuple(str(finding) for finding in report.findings))

    def _land(self, plan: Sequence[tuple[Submission, str]], tip: Tip) -> None:
        """Plan, move, record: the order is what a crash is recovered by."""
        queue = self._fleet.queue
        queue.landing(plan, now=time.time())
        if self._branch.move(tip, plan[-1][1]):
            queue.landed(plan, now=time.time())
            for entry, commit in plan:
                log.info("landed %s.%d as %s", entry.task.id, entry.epoch, commit[:10])
        else:
            for entry, _ in plan:
                queue.returned(entry, now=time.time())

    def _end(
        self, entry: Submission, outcome: Outcome, reason: str, findings: tuple[str, ...] = ()
    ) -> None:
        step = self._fleet.ledger.ended(
            entry.task.id,
            entry.epoch,
            outcome,
            reason,
            now=time.time(),
            rng=self._rng,
            expected=AFTER_SUBMISSION,
            findings=findings,
        )
        log.info("%s.%d not landed: %s", entry.task.id, entry.epoch, step.reason)
