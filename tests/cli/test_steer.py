from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleet.cli.steer import way_to
from fleet.core.errors import UsageError
from fleet.core.note import Via
from fleet.core.profile import Api, Profile, SteerBy
from fleet.store import notes
from fleet.store.claims import try_hold
from fleet.store.database import Database
from fleet.store.layout import Layout
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from tests.builders import NOW, a_ledger, a_task, an_owner


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    top = tmp_path / "project"
    top.mkdir()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=top, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], cwd=top, check=True)
    made = Layout(common_dir=top / ".git", top=top, cache=tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def db(layout: Layout) -> Iterator[Database]:
    with closing(Database(layout.database)) as opened:
        opened.migrate(MIGRATIONS)
        yield opened


def steer(layout: Layout, *words: str, stdin: bytes = b"") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "fleet", "steer", *words],
        cwd=layout.top,
        env={"PATH": "/usr/bin:/bin", "HOME": str(layout.top.parent)},
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def at_work(db: Database, agent: str) -> None:
    Roster(db).sync([a_task()], now=NOW)
    claim, _ = a_ledger(db).claim(an_owner(), lambda _: True, now=NOW) or pytest.fail("no claim")
    a_ledger(db).running(claim, agent=agent, base="b", now=NOW)


def test_a_note_is_taken_down_and_it_is_said_how_it_gets_there(
    layout: Layout, db: Database
) -> None:
    at_work(db, "mini")
    code, said = steer(layout, "one", "go left")
    assert (code, "the worker of task 'one' has died" in said) == (2, True)
    lock = try_hold(layout.claim_lock("one"))
    assert lock is not None
    with lock:
        told = "noted: it reaches mini (one.1) with its next question to the model\n"
        assert steer(layout, "one", "go left") == (0, told)
        assert steer(layout, "one", "-", stdin="über\nzwei Zeilen\n".encode()) == (0, told)
        code, said = steer(layout, "one", "-", stdin=b"\xff\x00" * 100)
        assert (code, "not plain text" in said) == (2, True)
        code, said = steer(layout, "one", "-", stdin=b"x" * 100_000)
        assert (code, "8,000 is the most" in said) == (2, True)
    texts = [note.text for note in notes.since(db, "one", 1, Via.PROXY)]
    assert texts == ["go left", "über\nzwei Zeilen"]


def test_agents_that_hear_nothing_are_refused(layout: Layout, db: Database) -> None:
    code, said = steer(layout, "one", "go left")
    assert (code, "no run has seen a task 'one'" in said) == (2, True)
    at_work(db, "echo")
    lock = try_hold(layout.claim_lock("one"))
    assert lock is not None
    with lock:
        code, said = steer(layout, "one", "go left")
    assert (code, said) == (2, "fleet: agent 'echo' cannot be steered: it asks no model\n")
    assert db.one("SELECT count(*) FROM notes") == (0,)


def a_profile(api: tuple[Api, ...], steer: SteerBy) -> dict[str, Profile]:
    return {"it": Profile(name="it", command=("it",), api=api, steer=steer)}


def test_the_profile_says_by_which_way() -> None:
    openai = (Api.OPENAI,)
    assert way_to("it", a_profile(openai, SteerBy.PROXY)) is Via.PROXY
    assert way_to("it", a_profile(openai, SteerBy.STDIN)) is Via.STDIN
    assert way_to("it", a_profile((), SteerBy.STDIN)) is Via.STDIN
    for profiles, why in (
        (a_profile((), SteerBy.PROXY), "it asks no model"),
        (a_profile(openai, SteerBy.NONE), 'steer = "none"'),
        ({}, "has no profile any more"),
    ):
        with pytest.raises(UsageError, match=why):
            way_to("it", profiles)
