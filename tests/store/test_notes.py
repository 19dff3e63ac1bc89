from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.attempt import Claim, Outcome
from fleet.core.errors import UsageError
from fleet.core.event import Kind
from fleet.core.note import Note, Via
from fleet.store import events, notes
from fleet.store.database import Database
from fleet.store.ledger import Ledger
from fleet.store.roster import Roster
from tests.builders import NOW, RNG, a_database, a_ledger, a_task, an_owner


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = a_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return a_ledger(db)


def claimed(db: Database, ledger: Ledger) -> Claim:
    Roster(db).sync([a_task()], now=NOW)
    db.write("UPDATE tasks SET not_before = 0")
    found = ledger.claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    return found[0]


def at_work(db: Database, ledger: Ledger) -> Claim:
    claim = claimed(db, ledger)
    ledger.running(claim, agent="mini", base="b", now=NOW)
    return claim


def write(db: Database, text: str, via: Via = Via.PROXY) -> tuple[str, int, Via]:
    return notes.write(db, "one", text, lambda _: via, now=NOW)


def refused(db: Database) -> str:
    with pytest.raises(UsageError) as caught:
        write(db, "go left")
    return str(caught.value)


def test_a_note_is_for_the_attempt_that_runs(db: Database, ledger: Ledger) -> None:
    at_work(db, ledger)
    assert write(db, "go left") == ("mini", 1, Via.PROXY)
    assert write(db, "go right") == ("mini", 1, Via.PROXY)
    assert write(db, "by another way", Via.STDIN) == ("mini", 1, Via.STDIN)
    by_proxy = (Note(1, "go left"), Note(2, "go right"))
    assert notes.of_live_attempts(db, Via.PROXY) == {"one.1": by_proxy}
    assert notes.of_live_attempts(db, Via.STDIN) == {"one.1": (Note(3, "by another way"),)}
    assert notes.since(db, "one", 1, Via.PROXY) == by_proxy
    assert notes.since(db, "one", 1, Via.PROXY, seq=1) == by_proxy[1:]


def test_it_is_told_as_an_event_in_few_words(db: Database, ledger: Ledger) -> None:
    at_work(db, ledger)
    write(db, "go\nleft")
    write(db, "x" * notes.LONGEST)
    first, second = [e for e in events.of_task(db, "one") if e.kind is Kind.NOTED]
    assert (first.epoch, first.agent, first.reason) == (1, "mini", "go left")
    assert len(second.reason) == notes.SHOWN


def test_it_ends_with_its_attempt(db: Database, ledger: Ledger) -> None:
    claim = at_work(db, ledger)
    write(db, "go left")
    ledger.ended("one", claim.epoch, Outcome.REJECTED, "why", now=NOW, rng=RNG)
    assert notes.of_live_attempts(db, Via.PROXY) == {}
    at_work(db, ledger)
    assert notes.of_live_attempts(db, Via.PROXY) == {}
    assert write(db, "go on") == ("mini", 2, Via.PROXY)
    assert notes.of_live_attempts(db, Via.PROXY) == {"one.2": (Note(1, "go on"),)}
    assert notes.since(db, "one", 1, Via.PROXY) == (Note(1, "go left"),)  # for who looks back


def test_where_no_agent_is_at_work_it_is_refused_and_says_why(db: Database, ledger: Ledger) -> None:
    assert "no run has seen a task 'one'" in refused(db)
    Roster(db).sync([a_task()], now=NOW)
    assert "is pending: change its prompt" in refused(db)
    claim = claimed(db, ledger)
    assert "is claimed, and its agent is not started yet" in refused(db)
    ledger.running(claim, agent="mini", base="b", now=NOW)
    ledger.harvested(claim, head="h", now=NOW)
    assert "has ended, and what it did is being proven" in refused(db)
    ledger.submitted(claim, base="b", merge="m", now=NOW)
    assert "is proven, and waits to be landed" in refused(db)
    db.write("UPDATE tasks SET state = 'landing'")
    assert "is being landed" in refused(db)
    db.write("UPDATE tasks SET state = 'poisoned'")
    assert "has ended (poisoned): no agent is at work on it" in refused(db)
    assert db.one("SELECT count(*) FROM notes") == (0,)


def test_an_agent_that_cannot_be_told_is_told_nothing(db: Database, ledger: Ledger) -> None:
    at_work(db, ledger)

    def refuse(agent: str) -> Via:
        raise UsageError(f"not {agent}")

    with pytest.raises(UsageError, match="not mini"):
        notes.write(db, "one", "go left", refuse, now=NOW)
    assert db.one("SELECT count(*) FROM notes") == (0,)
    assert Kind.NOTED not in {event.kind for event in events.of_task(db, "one")}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  go left \n", "go left"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("é 👩‍👩‍👧 \u00a0 ä", "é 👩‍👩‍👧 \u00a0 ä"),
        ("x" * notes.LONGEST, "x" * notes.LONGEST),
    ],
)
def test_text_is_kept_as_it_is(given: str, kept: str) -> None:
    assert notes.checked(given) == kept


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("x" * (notes.LONGEST + 1), "8,001 characters"),
        ("a\0b", "not plain text"),
        ("\x1b[31mred", "not plain text"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), "not plain text"),
    ],
)
def test_what_is_no_message_is_refused(given: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        notes.checked(given)


def test_what_an_attempt_was_told_holds_for_the_one_that_goes_on(
    db: Database, ledger: Ledger
) -> None:
    at_work(db, ledger)
    write(db, "by proxy")
    write(db, "by stdin", Via.STDIN)
    notes.carry_over(db, "one", 2, (Via.PROXY,))
    assert notes.since(db, "one", 2, Via.PROXY) == (Note(1, "by proxy"),)
    assert notes.since(db, "one", 2, Via.STDIN) == ()
    notes.carry_over(db, "one", 2, tuple(Via))
    assert notes.since(db, "one", 2, Via.PROXY) == (Note(1, "by proxy"),)
    assert notes.since(db, "one", 2, Via.STDIN) == (Note(2, "by stdin"),)
