"""Starting the agent of one attempt, and watching it to its end."""

from __future__ import annotations

import signal
import time

from fleet.core.attempt import Claim
from fleet.core.event import Event, Kind
from fleet.core.profile import Profile
from fleet.core.story import Story
from fleet.gate.cleanroom import Caller
from fleet.process.supervise import Ended, supervise
from fleet.store import events, stories
from fleet.store.files import write_within
from fleet.store.profiles import env_of, files_of, fill, fill_resume
from fleet.wiring import Fleet
from fleet.worker.access import open_access
from fleet.worker.circles import Circles, Watch
from fleet.worker.conversation import Conversation
from fleet.worker.place import Place
from fleet.worker.walls import around


def run_agent(
    fleet: Fleet, claim: Claim, profile: Profile, place: Place, prompt: str, by: Caller
) -> tuple[Ended, Story]:
    """Run it in its workspace with an environment of our making, until it ends or must."""
    task, rooms = claim.task, place.rooms
    tools = fleet.environments.ensure(place.base, by)
    access = open_access(fleet, claim, profile, by)
    walls = around(fleet, claim, profile, rooms, access)
    values = {
        "prompt": prompt,
        "prompt_file": str(walls.prompt_file),
        "workspace": str(walls.place.work),
        "model": task.model or profile.model,
        "task": task.id,
        "attempt": claim.key,
        "session": place.session,
    }
    for name, content in files_of(profile, **values, **access.values).items():
        write_within(rooms.home, name, content.encode())
    env = {
        **fleet.agent_environment(walls.place.home, walls.place.tmp, tools),
        **walls.sandbox.env(),
        **fleet.config.env.passed(profile.pass_env),
        **access.env(profile.api),
        **env_of(profile, **values, **access.values),
        "FLEET_TASK": task.id,
        "FLEET_EPOCH": str(claim.epoch),
        "FLEET_ATTEMPT_NUMBER": str(claim.attempt),
    }
    watch, talk = Watch(rooms.work), Conversation(fleet, claim, profile, prompt)
    circles = Circles(fleet, claim, Watch(rooms.work))

    def attend() -> str | None:
        talk.pass_notes()
        return by.stopped() or circles.look(time.monotonic())

    argv = (fill_resume if place.resumes else fill)(profile, **values)
    command = walls.command(argv, env, tools)
    ended = supervise(
        command.argv,
        rung=command.rung,
        cwd=rooms.work,
        env=env,
        mark=by.mark,
        stdin=talk.inbox,
        transcript=fleet.layout.transcript(task.id, claim.epoch),
        wall_s=task.timeout_s or fleet.config.fleet.timeout_s,
        stall_s=fleet.config.fleet.no_progress_s,
        stop_signal=signal.Signals[f"SIG{profile.stop_signal}"],
        grace_s=profile.stop_grace_s,
        should_stop=attend,
        moved=watch.moved,
        on_output=talk.hear,
    )
    ended, story = access.hushed(ended, talk.end())
    stories.keep(fleet.layout, claim, story)
    events.emit(
        fleet.db,
        Event(
            kind=Kind.AGENT_ENDED,
            at=time.time(),
            task=task.id,
            epoch=claim.epoch,
            agent=profile.name,
            outcome=ended.end,
            reason=ended.reason,
            number=round(ended.seconds, 3),
        ),
    )
    return ended, story
