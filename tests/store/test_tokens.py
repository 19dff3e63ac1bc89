from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.attempt import Claim, Outcome
from fleet.landing.audit.needles import Needles
from fleet.store import tokens
from fleet.store.database import Database
from fleet.store.ledger import Ledger
from fleet.store.roster import Roster
from fleet.telemetry.redaction import redactor
from tests.builders import NOW, RNG, a_database, a_ledger, a_task, an_owner


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = a_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return a_ledger(db)


def claimed(db: Database, ledger: Ledger, id_: str = "one", **fields: object) -> Claim:
    Roster(db).sync([a_task(id_, **fields)], now=NOW)
    return again(db, ledger)


def again(db: Database, ledger: Ledger) -> Claim:
    db.write("UPDATE tasks SET not_before = 0")
    found = ledger.claim(an_owner("agent-7"), lambda _: True, now=NOW)
    assert found is not None
    return found[0]


def end(ledger: Ledger, claim: Claim, outcome: Outcome, *, give_back: bool = False) -> None:
    ledger.ended(claim.task.id, claim.epoch, outcome, "why", now=NOW, rng=RNG, give_back=give_back)


def test_a_token_names_its_attempt_and_is_nowhere_in_the_database(
    db: Database, ledger: Ledger, tmp_path: Path
) -> None:
    claim = claimed(db, ledger, priority=3)
    token = tokens.issue(db, claim, "mini", NOW)
    assert len(token) >= 32
    (caller,) = tokens.live(db)
    assert (caller.task, caller.epoch, caller.key) == ("one", 1, "one.1")
    assert (caller.agent, caller.worker, caller.priority) == ("mini", "agent-7", 3)
    assert (caller.hash, caller.verdicts) == (tokens.digest(token.encode()), 0)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert caller.hash.encode() in stored
    assert token.encode() not in stored


def test_it_lives_until_the_work_is_handed_in(db: Database, ledger: Ledger) -> None:
    claim = claimed(db, ledger)
    tokens.issue(db, claim, "mini", NOW)
    ledger.running(claim, agent="mini", base="b", now=NOW)
    ledger.harvested(claim, head="h", now=NOW)
    assert len(tokens.live(db)) == 1
    ledger.submitted(claim, base="b", merge="m", now=NOW)
    assert tokens.live(db) == ()


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.ABANDONED, Outcome.CANCELLED])
def test_it_ends_with_its_attempt(db: Database, ledger: Ledger, outcome: Outcome) -> None:
    claim = claimed(db, ledger)
    tokens.issue(db, claim, "mini", NOW)
    end(ledger, claim, outcome)
    assert tokens.live(db) == ()


def test_a_newer_epoch_supersedes_it_and_knows_the_verdicts_before(
    db: Database, ledger: Ledger
) -> None:
    first = claimed(db, ledger, max_attempts=9)
    old = tokens.issue(db, first, "mini", NOW)
    outcomes = (Outcome.REJECTED, Outcome.ABANDONED, Outcome.TIMEOUT, Outcome.UNPROVEN)
    claim = first
    for outcome in outcomes:
        end(ledger, claim, outcome)
        claim = again(db, ledger)
    assert tokens.live(db) == ()  # the old one does not come back with its task
    new = tokens.issue(db, claim, "mini", NOW)
    (caller,) = tokens.live(db)
    assert caller.hash == tokens.digest(new.encode()) != tokens.digest(old.encode())
    assert (caller.epoch, caller.verdicts) == (5, 2)


def test_an_attempt_has_one_token_and_the_dead_are_pruned(db: Database, ledger: Ledger) -> None:
    claim = claimed(db, ledger, max_attempts=9)
    tokens.issue(db, claim, "mini", NOW)
    token = tokens.issue(db, claim, "mini", NOW)
    assert [caller.hash for caller in tokens.live(db)] == [tokens.digest(token.encode())]
    for _ in range(3):
        end(ledger, claim, Outcome.ABANDONED, give_back=True)
        claim = again(db, ledger)
        tokens.issue(db, claim, "mini", NOW)
    assert db.one("SELECT count(*) FROM tokens") == (1,)


def test_tokens_by_hand_live_until_they_are_revoked(db: Database, ledger: Ledger) -> None:
    first, second = (tokens.issue_by_hand(db, name, NOW) for name in ("a", "b"))
    tokens.issue(db, claimed(db, ledger), "mini", NOW)
    by_hand = [caller for caller in tokens.live(db) if not caller.task]
    assert {caller.agent for caller in by_hand} == {"a", "b"}
    assert len({caller.key for caller in by_hand}) == 2
    tokens.revoke(db, first)
    assert {caller.agent for caller in tokens.live(db)} == {"b", "mini"}
    tokens.revoke_by_hand(db)
    assert [caller.agent for caller in tokens.live(db)] == ["mini"]
    assert second


def test_a_token_has_256_bits_and_the_audit_and_the_logs_know_its_form(db: Database) -> None:
    made = {tokens.issue_by_hand(db, "a", NOW) for _ in range(20)}
    assert len(made) == 20
    for token in made:
        assert len(token) == 43
        assert token not in redactor(())(f"asked with {token}")
        needles = Needles.of({}, {tokens.digest(token.encode()): "one.1"})
        assert list(needles.bearers_in(b"x" + token.encode() + b"y")) == ["one.1"]
