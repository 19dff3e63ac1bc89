"""A9: a key or a token, wherever it may have got to, in whatever form."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from fleet.core.attempt import Claim
from fleet.core.event import Event, Kind
from fleet.core.task import Task
from fleet.landing.audit.needles import Needles
from fleet.process.tree import ATTEMPT_MARK
from fleet.store import events, tokens
from fleet.wiring import Fleet
from tests.builders import an_owner
from tests.landing.conftest import KEY, Audited

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda key: key,
    "base64": base64.b64encode,
    "base64 after one byte": lambda key: base64.b64encode(b":" + key),
    "base64 after two bytes": lambda key: base64.b64encode(b"x:" + key + b"!"),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(b"user:" + key),
    "quoted": lambda key: quote(key, safe="").encode(),
    "in JSON": lambda key: json.dumps({"k": key.decode()}).encode(),
    "in hex": lambda key: key.hex().encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_found_in_every_form(form: str) -> None:
    needles = Needles.of({"A_KEY": KEY}, {})
    assert list(needles.names_in(b"before " + FORMS[form](KEY.encode()) + b" after")) == ["A_KEY"]
    assert list(needles.names_in(b"before " + FORMS[form](KEY.encode()[:-9]) + b" after")) == []


def test_a_value_that_could_be_anything_is_not_looked_for() -> None:
    assert not Needles.of({"A_KEY": "none"}, {})


def in_a_log(fleet: Fleet, key: str) -> None:
    fleet.layout.logs.mkdir(exist_ok=True)
    (fleet.layout.logs / "agent-1.log").write_text(f"12:00 asking with {key}\n")


def in_a_transcript(fleet: Fleet, key: str) -> None:
    path = fleet.layout.transcript("two", 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\x00" + base64.b64encode(key.encode()))


def in_an_event_that_was_deleted(fleet: Fleet, key: str) -> None:
    fleet.db.write("PRAGMA secure_delete=OFF")
    filler = key + " " * 20_000
    events.emit(fleet.db, Event(kind=Kind.PAUSED, at=1.0, reason=filler))
    fleet.db.write("DELETE FROM events WHERE kind = 'paused'")
    assert not [one for one in events.since(fleet.db, 0) if key in one.reason]


def in_the_write_ahead_log(fleet: Fleet, key: str) -> None:
    fleet.controls.set("paused", key)
    assert key.encode() in fleet.layout.database.with_name("state.db-wal").read_bytes()
    fleet.controls.set("paused", "")


def in_the_hub(fleet: Fleet, key: str) -> None:
    git = fleet.hub.git
    blob = git.run("hash-object", "-w", "--stdin", stdin=f"KEY={key}\n".encode()).text
    tree = git.run("mktree", stdin=f"100644 blob {blob}\t.env\n".encode()).text
    parent = fleet.hub.read_ref("refs/fleet/attempts/bad/1") or ""
    commit = git.run("commit-tree", tree, "-p", parent, stdin=b"innocent\n").text
    git.run("update-ref", "refs/fleet/attempts/bad/1", commit)
    fleet.db.write("UPDATE attempts SET head = ? WHERE task = 'bad'", (commit,))


def in_the_message_of_a_commit(fleet: Fleet, key: str) -> None:
    parent = fleet.hub.read_ref("refs/fleet/attempts/bad/1") or ""
    commit = fleet.hub.git.run(
        "commit-tree", f"{parent}^{{tree}}", "-p", parent, stdin=key.encode()
    ).text
    fleet.hub.git.run("update-ref", "refs/fleet/salvage/bad/1/work", commit)


@pytest.mark.parametrize(
    "plant",
    [
        in_a_log,
        in_a_transcript,
        in_an_event_that_was_deleted,
        in_the_write_ahead_log,
        in_the_hub,
        in_the_message_of_a_commit,
    ],
)
def test_a_key_is_found_wherever_it_is(
    audited: Audited, plant: Callable[[Fleet, str], None]
) -> None:
    fleet = audited.open()
    plant(fleet, KEY)
    found = audited.breaches(ANTHROPIC_API_KEY=KEY)
    assert found
    assert all(breach.startswith("A9: ") and "ANTHROPIC_API_KEY" in breach for breach in found)
    assert not any(KEY in breach for breach in found)
    assert audited.breaches(ANTHROPIC_API_KEY="another-key-altogether") == []
    fleet.close()


def a_token(fleet: Fleet, task: str) -> str:
    claim = Claim(task=Task(id=task, prompt="x"), epoch=1, attempt=1, owner=an_owner())
    fleet.db.write("UPDATE tasks SET state = 'running' WHERE id IN ('one', 'two', 'bad')")
    return tokens.issue(fleet.db, claim, "mini", 1.0)


def about_secrets(audited: Audited) -> list[str]:
    """The tasks that a token belongs to are open here, which is another rule's."""
    return [breach for breach in audited.breaches() if breach.startswith("A9")]


def test_a_token_is_flagged_anywhere_but_at_home(audited: Audited) -> None:
    fleet = audited.open()
    one, two = a_token(fleet, "one"), a_token(fleet, "two")
    home = fleet.layout.workspace("two", 1) / "home"
    home.mkdir(parents=True)
    (home / "settings.json").write_text(json.dumps({"token": two}))
    assert about_secrets(audited) == []
    (home / "stolen").write_text(f"x{one}y")
    assert about_secrets(audited) == [f"A9: {home / 'stolen'} holds the token of one.1"]
    (home / "stolen").unlink()
    transcript = fleet.layout.transcript("two", 1)
    transcript.write_text(f"ANTHROPIC_BASE_URL=http://127.0.0.1:1/a/{two}/v1\n")
    assert about_secrets(audited) == [f"A9: {transcript} holds the token of two.1"]
    fleet.close()


def in_environment(audited: Audited, environ: dict[str, str], *arguments: Path | str) -> list[str]:
    child = subprocess.Popen(
        [sys.executable, "-Sc", "print('here', flush=True); input()", *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    try:
        found = audited.breaches(ANTHROPIC_API_KEY=KEY)
        return [breach for breach in found if f"process {child.pid} holds" in breach]
    finally:
        child.kill()
        child.communicate()


def test_a_process_of_ours_with_a_key_is_flagged(audited: Audited) -> None:
    fleet = audited.open()
    top = fleet.layout.top
    mark = fleet.layout.mark("two", 1)
    holds = {"ANTHROPIC_API_KEY": KEY}
    assert in_environment(audited, {ATTEMPT_MARK: mark, **holds})
    assert in_environment(audited, holds, "fleet.worker", "--top", top)
    assert not in_environment(audited, holds, "fleet.proxy", "--top", top)
    assert not in_environment(audited, holds)  # anybody's
    fleet.close()


def test_an_agent_has_its_own_token_and_no_others(audited: Audited) -> None:
    fleet = audited.open()
    one, two = a_token(fleet, "one"), a_token(fleet, "two")
    mark = fleet.layout.mark("two", 1)
    assert not in_environment(audited, {ATTEMPT_MARK: mark, "TOKEN": two})
    assert in_environment(audited, {ATTEMPT_MARK: mark, "TOKEN": one})
    fleet.close()
