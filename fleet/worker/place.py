"""Where an attempt works: in new folders, or in those of one that was cut short.

An agent that thinks goes on where the attempt before was stopped or killed: its work is there, and
its session too if its program can take one up. A program without a model starts afresh, since it
would do twice what it does.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fleet.core.attempt import Claim
from fleet.core.profile import Profile
from fleet.store import sessions
from fleet.wiring import Fleet
from fleet.worker.workspace import Rooms, close, open_rooms


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    rooms: Rooms
    epoch: int  # whose folders they are
    base: str
    goes_on: bool = False  # somebody has worked here before
    resumes: bool = False  # and the agent can take up `session`
    session: str = ""  # its id, if it is known beforehand

    def afresh(self, profile: Profile) -> Place:
        """The same folders, for an agent that could not take up its session."""
        return Place(
            rooms=self.rooms,
            epoch=self.epoch,
            base=self.base,
            goes_on=True,
            session=_new_session(profile),
        )


def open_place(fleet: Fleet, claim: Claim, profile: Profile, tip: str) -> Place:
    task = claim.task.id
    left = sessions.newest(fleet.db, task, before=claim.epoch)
    if left is not None:
        rooms = open_rooms(fleet, task, left.rooms)
        there = rooms.are_whole() and fleet.hub.has(left.base)
        if there and profile.api and left.agent == profile.name:
            rooms.unlock()
            resumes = bool(profile.resume and left.id)
            return Place(
                rooms=rooms,
                epoch=left.rooms,
                base=left.base,
                goes_on=True,
                resumes=resumes,
                session=left.id if resumes else _new_session(profile),
            )
        close(fleet, rooms)
        sessions.forget(fleet.db, task, left.rooms)
    rooms = open_rooms(fleet, task, claim.epoch)
    rooms.prepare(fleet, claim, tip)
    return Place(rooms=rooms, epoch=claim.epoch, base=tip, session=_new_session(profile))


def close_place(fleet: Fleet, claim: Claim) -> None:
    """Remove the folders of an attempt that is over, unless they are another's by now."""
    task = claim.task.id
    rooms = sessions.rooms_of(fleet.db, task, claim.epoch)
    if rooms:
        close(fleet, open_rooms(fleet, task, rooms))
        sessions.forget(fleet.db, task, rooms)


def _new_session(profile: Profile) -> str:
    return str(uuid.uuid4()) if profile.names_session else ""
