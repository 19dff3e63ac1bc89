"""One attempt, from a claim to a submission or to the reason why there is none.

The steps are in the order they happen. Each returns a value; an agent that fails is a `Result`,
never an exception. A `StaleError` from the ledger means the task is no longer ours: the caller
drops everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet.core.attempt import Claim, Outcome
from fleet.core.event import Event, Kind
from fleet.core.note import Via
from fleet.core.profile import Profile
from fleet.core.report import GateReport, Verdict
from fleet.core.story import Story
from fleet.gate.candidate import Candidate, build
from fleet.gate.cleanroom import Caller, Interrupted
from fleet.gate.codec import report_as_json
from fleet.process.supervise import End, Ended
from fleet.repo.harvest import Harvest
from fleet.store import events, notes, sessions
from fleet.store.files import write_private
from fleet.wiring import Fleet, proven_commit
from fleet.worker.agent import run_agent
from fleet.worker.place import Place, open_place
from fleet.worker.prompt import GO_ON, Earlier, write
from fleet.worker.workspace import harvest_work

Stopped = Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an attempt went. SUBMITTED work has no outcome yet: the lander gives it one."""

    outcome: Outcome | None
    reason: str = ""
    findings: tuple[str, ...] = ()
    give_back: bool = False  # drained: does not count as an attempt
    fault: str = ""  # the fleet, not the task, is at fault: no more claims until it is mended
    until: float = 0.0  # POSIX s: when one that is parked goes on
    not_started: str = ""  # why the agent could not be started; three in a row are a fault


SUBMITTED = Result(outcome=None)


def carry_out(fleet: Fleet, claim: Claim, profile: Profile, stopped: Stopped) -> Result:
    """Everything between the claim and the submission, under the claim's lock."""
    by = Caller(mark=fleet.layout.mark(claim.task.id, claim.epoch), stopped=stopped)
    try:
        return _carry_out(fleet, claim, profile, by)
    except Interrupted as stop:
        return Result(outcome=Outcome.ABANDONED, reason=str(stop), give_back=True)


def _carry_out(fleet: Fleet, claim: Claim, profile: Profile, by: Caller) -> Result:
    tip = fleet.take_tip()
    if claim.harvested:
        head = claim.harvested  # its worker died after the agent had ended: no second agent run
        fleet.ledger.running(claim, agent=profile.name, base=tip, now=time.time())
    else:
        place = open_place(fleet, claim, profile, tip)
        fleet.ledger.running(claim, agent=profile.name, base=place.base, now=time.time())
        ended, story = _work(fleet, claim, profile, place, by)
        work = harvest_work(fleet, claim, place.rooms, base=place.base, profile=profile)
        failed = _agent_failed(profile, ended, story, work)
        if failed is not None:
            return failed
        head = work.head
    fleet.ledger.harvested(claim, head=head, now=time.time())
    return _prove(fleet, claim, head, by)


def _work(
    fleet: Fleet, claim: Claim, profile: Profile, place: Place, by: Caller
) -> tuple[Ended, Story]:
    """The agent's run; a second one if its program knows nothing of the session it is to take up,
    as one that was killed before its first turn."""
    ended, story = _run(fleet, claim, profile, place, by)
    knew_nothing = ended.end is End.EXITED and ended.code != 0 and not story.turns
    if place.resumes and knew_nothing:
        ended, story = _run(fleet, claim, profile, place.afresh(profile), by)
    return ended, story


def _run(
    fleet: Fleet, claim: Claim, profile: Profile, place: Place, by: Caller
) -> tuple[Ended, Story]:
    sessions.begin(
        fleet.db,
        claim,
        agent=profile.name,
        rooms=place.epoch,
        base=place.base,
        id_=place.session,
    )
    if place.goes_on:
        # A session knows what it was told itself; what is put into its requests it does not.
        ways = (Via.PROXY,) if place.resumes else tuple(Via)
        notes.carry_over(fleet.db, claim.task.id, claim.epoch, ways)
    return run_agent(fleet, claim, profile, place, _prompt(fleet, claim, place), by)


def _prompt(fleet: Fleet, claim: Claim, place: Place) -> str:
    outcome, reason, findings = fleet.ledger.last_findings(claim.task.id)
    text = write(
        claim.task,
        checks=fleet.config.gate.commands,
        earlier=Earlier(outcome=outcome, reason=reason, findings=findings),
        interrupted=place.goes_on,
    )
    if place.resumes:
        text = GO_ON
    write_private(_folder(fleet, claim) / "prompt.md", text.encode())
    return text


def _agent_failed(profile: Profile, ended: Ended, story: Story, work: Harvest) -> Result | None:
    """What the way it ended, and the difference it made, say about it. None: on to the gate."""
    words = story.error or story.said or ended.last_line
    said = f": {words}" if words else ""
    match ended.end:
        case End.NOT_STARTED:
            why = f"agent {profile.name!r} cannot be started: {ended.reason}"
            return Result(outcome=Outcome.ABANDONED, reason=why, give_back=True, not_started=why)
        case End.STOPPED:
            return Result(outcome=Outcome.ABANDONED, reason=ended.reason, give_back=True)
        case End.TIMED_OUT | End.STALLED:
            return Result(outcome=Outcome.TIMEOUT, reason=ended.reason)
        case _:
            pass
    if work.problem:
        return Result(outcome=Outcome.REFUSED, reason=work.problem)
    how = f"signal {ended.signal}" if ended.end is End.SIGNALLED else f"exit code {ended.code}"
    if profile.success_exit is not None and ended.code not in profile.success_exit:
        return Result(outcome=Outcome.CRASHED, reason=f"the agent ended with {how}{said}")
    if work.changed:
        return None  # exit codes prove nothing: the gate decides
    if ended.end is End.EXITED and ended.code == 0 and not story.error:
        return Result(outcome=Outcome.REFUSED, reason=f"the agent changed nothing{said}")
    return Result(
        outcome=Outcome.CRASHED, reason=f"the agent ended with {how} and changed nothing{said}"
    )


def _prove(fleet: Fleet, claim: Claim, head: str, by: Caller) -> Result:
    """Merge onto the tip as it is now, gate exactly that tree, and submit what passed.

    The tip is taken once a slot is held, after what needs no more gating has landed: a proof on an
    older tip would have to be made again.
    """
    with fleet.gate.room.slot(by):
        fleet.await_landings(by)
        base = fleet.take_tip()
        candidate = build(
            fleet.hub,
            claim.task,
            base=base,
            head=head,
            rules=fleet.rules,
            checks=fleet.gate.checks,
        )
        if not candidate.stands:
            return _not_standing(candidate)
        report = fleet.gate.prove([candidate], extra=claim.task.gate, by=by)
        _tell(fleet, claim, report)
        return _judged(fleet, claim, candidate, head, report)


def _judged(
    fleet: Fleet, claim: Claim, candidate: Candidate, head: str, report: GateReport
) -> Result:
    if report.verdict is Verdict.PASS:
        now = time.time()
        merge = proven_commit(fleet, claim.task, claim.epoch, candidate, head=head, at=now)
        fleet.ledger.submitted(claim, base=candidate.base, merge=merge, now=now)
        return SUBMITTED
    if report.base_at_fault:
        why = f"the gate cannot run here: {report.note}"
        return Result(outcome=Outcome.ABANDONED, reason=why, give_back=True, fault=why)
    return Result(
        outcome=Outcome.REJECTED if report.verdict is Verdict.FAIL else Outcome.UNPROVEN,
        reason=report.headline,
        findings=tuple(str(finding) for finding in report.findings),
    )


def _not_standing(candidate: Candidate) -> Result:
    if candidate.conflicts:
        listed = ", ".join(candidate.conflicts)
        return Result(
            outcome=Outcome.CONFLICT,
            reason=f"conflict in {listed}",
            findings=tuple(f"conflict: {path}" for path in candidate.conflicts),
        )
    return Result(outcome=Outcome.REFUSED, reason=candidate.refusal)


def _tell(fleet: Fleet, claim: Claim, report: GateReport) -> None:
    write_private(_folder(fleet, claim) / "gate.json", report_as_json(report).encode())
    events.emit(
        fleet.db,
        Event(
            kind=Kind.GATED,
            at=time.time(),
            task=claim.task.id,
            epoch=claim.epoch,
            verdict=report.verdict,
            reason=report.headline,
            number=round(report.seconds, 3),
            paths=(*report.restored,),
        ),
    )


def _folder(fleet: Fleet, claim: Claim) -> Path:
    return fleet.layout.attempt(claim.task.id, claim.epoch)
