"""What passes between an agent at work and us: the prompt and notes to it, its words from it."""

from __future__ import annotations

import json

from fleet.core.attempt import Claim
from fleet.core.note import Via
from fleet.core.profile import Profile, PromptBy
from fleet.core.story import Story
from fleet.process.inbox import Inbox
from fleet.store import notes, sessions
from fleet.wiring import Fleet
from fleet.worker.story import listener


class Conversation:
    """Of one run of one program. Writes the id of its session down as soon as it is told."""

    def __init__(self, fleet: Fleet, claim: Claim, profile: Profile, prompt: str) -> None:
        self._fleet = fleet
        self._claim = claim
        self._listener = listener(profile.output)
        self._session = ""
        self._version = -1  # of the ledger, when it was last asked for notes
        self._noted = 0
        self._owes = False  # it had ended when it was given another message
        self._by_messages = profile.prompt is PromptBy.MESSAGES
        if self._by_messages:
            self.inbox = Inbox(message(prompt), stays_open=True)
        else:
            self.inbox = Inbox(prompt.encode() if profile.prompt is PromptBy.STDIN else b"")

    def hear(self, data: bytes) -> None:
        if self._listener is None:
            return
        self._listener.hear(data)
        story = self._listener.story
        if story.session != self._session:
            self._session = story.session
            sessions.name(self._fleet.db, self._claim, story.session)
        if not story.ended:
            self._owes = False
        elif not self._owes:
            before = self._noted
            self.pass_notes()
            self._owes = self._noted > before
            if not self._owes:
                self.inbox.close()  # it has no question left, and waits for nothing but more work

    def pass_notes(self) -> None:
        """Tell the agent what the user has said meanwhile; to be called a few times a second."""
        db = self._fleet.db
        if not self._by_messages or self._version == db.version():
            return
        self._version = db.version()
        claim = self._claim
        for note in notes.since(db, claim.task.id, claim.epoch, Via.STDIN, seq=self._noted):
            self._noted = note.seq
            self.inbox.put(message(note.text))

    def end(self) -> Story:
        return self._listener.finish() if self._listener is not None else Story()


def message(text: str) -> bytes:
    """One of the user's, as agents that take messages on stdin want it."""
    told = {"type": "user", "message": {"role": "user", "content": text}}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"
