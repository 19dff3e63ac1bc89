from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from fleet.core.attempt import Claim
from fleet.core.profile import OutputFormat, Profile, PromptBy
from fleet.store.database import Database
from fleet.wiring import Fleet
from fleet.worker.conversation import Conversation, message
from tests.builders import a_database, a_task, an_owner

PROFILE = Profile(
    name="talker", command=("talker",), prompt=PromptBy.MESSAGES, output=OutputFormat.CLAUDE
)
WORKS = {"type": "assistant", "message": {"id": "m", "content": []}}
ENDS = {"type": "result", "subtype": "success", "is_error": False}


def line(event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def test_a_note_that_comes_as_the_agent_ends_keeps_its_stdin_open(tmp_path: Path) -> None:
    db, other = a_database(tmp_path), Database(tmp_path / "state.db")
    with closing(db), closing(other):
        claim = Claim(task=a_task("a"), epoch=1, attempt=1, owner=an_owner())
        talk = Conversation(cast(Fleet, SimpleNamespace(db=db)), claim, PROFILE, "Do it.")
        talk.inbox.taken(len(message("Do it.")))
        talk.hear(line(WORKS))
        other.write("INSERT INTO notes VALUES('a', 1, 1, 'One more thing.', 'stdin', 0)")
        talk.hear(line(ENDS))
        assert bytes(talk.inbox.peek(1000)) == message("One more thing.")
        talk.hear(line({"type": "system", "subtype": "status"}))
        talk.inbox.taken(1000)
        assert not talk.inbox.is_over
        talk.hear(line(WORKS))
        talk.hear(line(ENDS))
        assert talk.inbox.is_over
        assert talk.end().ended
