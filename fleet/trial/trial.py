"""Trying an agent out: a few `fleet run`s of one task each, watched, killed and steered.

All of it goes the way of any other run; what is found is read from where a run leaves it: the
branch, the ledger, and the recorded exchanges. Nothing of the user's is touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.core.profile import Profile, SteerBy
from fleet.core.state import TaskView
from fleet.core.task import TaskState
from fleet.process.command import run
from fleet.process.identity import is_alive
from fleet.process.kernel import pause
from fleet.process.supervise import supervise
from fleet.process.tree import ATTEMPT_MARK, marked
from fleet.proxy.recording.exchange import decode
from fleet.store.database import Database
from fleet.store.profiles import fill, missing_program
from fleet.store.roster import Roster
from fleet.store.view import open_for_reading, owner_of
from fleet.trial import scratch as places
from fleet.trial.findings import Finding, Part, Request, Verdict, of_prefix, of_streams
from fleet.trial.scratch import Scratch

RUN_S = 150.0
VERSION_S = 20.0
STEER_S = 30.0

Look = Callable[[], None]  # called a few times a second while a run goes on


@dataclass(slots=True)
class Trial:
    """One agent's. `requests` are those of its first task, once that has been tried."""

    profile: Profile
    environ: Mapping[str, str]
    root: Path  # an empty folder of ours
    requests: tuple[Request, ...] = ()

    def findings(self) -> Iterator[Finding]:
        """Each as soon as it is known. Takes half a minute and more."""
        program = self._program()
        yield program
        if program.verdict is not Verdict.WORKS:
            return
        if not self.profile.api:
            what = "it asks no model, so there is nothing to try it with"
            yield Finding(part=Part.TOOLS, verdict=Verdict.UNTRIED, what=what)
            return
        scratch = places.make(self.root, self.environ, self.profile)
        tools = self._edits(scratch)
        yield tools
        if tools.verdict is not Verdict.WORKS:
            return
        yield of_streams(self.requests)
        self._run(scratch, places.TWO)
        yield of_prefix(self.requests, _requests(scratch, places.TWO))
        if not scratch.landed(f"{places.ONE}.txt"):
            what = "it has no shell tool to try that with"
            for part in (Part.KILL, Part.RESUME, Part.STEER):
                yield Finding(part=part, verdict=Verdict.UNTRIED, what=what)
            return
        yield from self._survives(scratch)
        yield self._listens(scratch)

    # -- the parts ------------------------------------------------------------------------------

    def _program(self) -> Finding:
        path = self.environ.get("PATH", os.defpath)
        lacking = missing_program(self.profile, path)
        if lacking:
            what = f"{lacking!r} is not on PATH"
            return Finding(part=Part.PROGRAM, verdict=Verdict.FAILS, what=what)
        program, *rest = fill(self.profile)
        script = next((word for word in rest if word.startswith(f"{self.profile.folder}/")), "")
        if script:
            return Finding(part=Part.PROGRAM, verdict=Verdict.WORKS, what=script)
        env = {"PATH": path, "HOME": str(self.root), "NO_COLOR": "1", "CI": "1"}
        done = run([program, "--version"], cwd=self.root, env=env, timeout_s=VERSION_S)
        # Some do not know the option: whether they work is seen by what they do.
        said = done.text.splitlines() if done.ok else []
        what = f"{program}, version {said[-1] if said else 'unknown'}"
        return Finding(part=Part.PROGRAM, verdict=Verdict.WORKS, what=what)

    def _edits(self, scratch: Scratch) -> Finding:
        view = self._run(scratch, places.ONE)
        self.requests = _requests(scratch, places.ONE)
        if "tried" in scratch.landed("trial.txt").splitlines():
            what = "an edit by a tool call landed"
            if not scratch.landed(f"{places.ONE}.txt"):
                what = "an edit it was told in text landed: it has no shell tool"
            return Finding(part=Part.TOOLS, verdict=Verdict.WORKS, what=what)
        why = view.reason if view else "the run did not get as far"
        what = f"nothing landed: {why}; it made {len(self.requests)} requests"
        return Finding(part=Part.TOOLS, verdict=Verdict.FAILS, what=what)

    def _survives(self, scratch: Scratch) -> Iterator[Finding]:
        killer = _Killer(scratch)
        self._run(scratch, places.KILLED, killer.look)
        if not killer.killed_at:
            what = "it called no tool that could be interrupted"
            yield Finding(part=Part.KILL, verdict=Verdict.UNTRIED, what=what)
            return
        pause(max(0.0, killer.killed_at + places.LATE_S + 1 - time.monotonic()))
        left = marked(ATTEMPT_MARK, scratch.layout.mark(places.KILLED, 1))
        late = scratch.landed(places.LATE)
        if left or late:
            what = f"{len(left)} processes outlived it" if left else "a dead attempt's edit landed"
            yield Finding(part=Part.KILL, verdict=Verdict.FAILS, what=what)
        else:
            what = "killed in the middle of a tool: no process left, nothing late"
            yield Finding(part=Part.KILL, verdict=Verdict.WORKS, what=what)
        yield _resumed(self.profile, scratch.landed(places.HOW))

    def _listens(self, scratch: Scratch) -> Finding:
        if self.profile.steer is SteerBy.NONE:
            what = "its profile says that it cannot be steered"
            return Finding(part=Part.STEER, verdict=Verdict.ABSENT, what=what)
        steering = _Steering(scratch)
        self._run(scratch, places.STEERED, steering.look)
        if scratch.landed(places.HEARD) == "heard":
            what = f"a note reached it by {self.profile.steer}"
            return Finding(part=Part.STEER, verdict=Verdict.WORKS, what=what)
        what = steering.complaint or "it did nothing about a note"
        verdict = Verdict.FAILS if steering.tried else Verdict.UNTRIED
        return Finding(part=Part.STEER, verdict=verdict, what=what)

    def _run(self, scratch: Scratch, task: str, look: Look | None = None) -> TaskView | None:
        """One `fleet run` with one more task, to its end."""
        scratch.add(task)

        def glance() -> str | None:
            if look is not None:
                look()
            return None

        supervise(
            [sys.executable, "-P", "-m", "fleet", "run", "--record", str(scratch.tape(task))],
            cwd=scratch.top,
            env=scratch.env,
            mark=f"trial/{task}",
            transcript=scratch.root / f"{task}.log",
            wall_s=RUN_S,
            stall_s=None,
            should_stop=glance,
        )
        with _state(scratch) as db:
            return Roster(db).task(task)


class _Killer:
    """Kills the worker once the tool it is to interrupt has begun."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.killed_at = 0.0

    def look(self) -> None:
        layout = self._scratch.layout
        if (
            self.killed_at
            or not (layout.workspace(places.KILLED, 1) / "work" / places.BEGUN).exists()
        ):
            return
        with _state(self._scratch) as db:
            owner = owner_of(db, places.KILLED)
        if owner and is_alive(boot=owner.boot_id, pid=owner.pid, started=owner.started):
            os.kill(owner.pid, signal.SIGKILL)
            self.killed_at = time.monotonic()


class _Steering:
    """Says something once the agent is at work."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self.tried = False
        self.complaint = ""

    def look(self) -> None:
        if self.tried:
            return
        with _state(self._scratch) as db:
            view = Roster(db).task(places.STEERED)
        if view is None or view.state is not TaskState.RUNNING:
            return
        self.tried = True
        done = run(
            [sys.executable, "-P", "-m", "fleet", "steer", places.STEERED, places.NOTE],
            cwd=self._scratch.top,
            env=self._scratch.env,
            timeout_s=STEER_S,
        )
        self.complaint = "" if done.ok else done.complaint


def _resumed(profile: Profile, how: str) -> Finding:
    if how == "resumed":
        what = "it took up its session where it was killed"
        return Finding(part=Part.RESUME, verdict=Verdict.WORKS, what=what)
    if how == "afresh":
        what = "it began again, and found the work of the one that was killed"
        verdict = Verdict.FAILS if profile.resume else Verdict.ABSENT
        return Finding(part=Part.RESUME, verdict=verdict, what=what)
    what = "what came after it was killed did not land"
    return Finding(part=Part.RESUME, verdict=Verdict.FAILS, what=what)


def _requests(scratch: Scratch, task: str) -> tuple[Request, ...]:
    """What was asked in one run, in no order that matters."""
    found = []
    for path in sorted(scratch.tape(task).rglob("*.json")):
        exchange = decode(path.read_bytes())
        sent = exchange.request
        kinds = [value for name, value in exchange.headers if name == b"content-type"]
        found.append(
            Request(
                method=sent.method,
                target=sent.target,
                body=sent.body,
                streamed=any(kind.startswith(b"text/event-stream") for kind in kinds),
            )
        )
    return tuple(found)


@contextlib.contextmanager
def _state(scratch: Scratch) -> Iterator[Database]:
    with contextlib.closing(open_for_reading(scratch.layout.database)) as db:
        yield db
