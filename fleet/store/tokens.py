"""Tokens for model traffic: one an attempt, stored only as its hash.

A token needs no revoking: it is live exactly while its attempt is, as the ledger says. The end of
the attempt or a newer epoch ends it in the same write.
"""

from __future__ import annotations

import hashlib
import secrets

from fleet.core.attempt import Claim
from fleet.core.caller import VERDICTS, Caller
from fleet.core.task import HELD
from fleet.core.traffic import NANO
from fleet.store.database import Database, Row

TOKEN_BYTES = 32  # 43 letters
PRUNED = 64  # dead ones, at most, with each that is issued

_HELD = ", ".join(f"'{state}'" for state in sorted(HELD))
_VERDICTS = ", ".join(f"'{outcome}'" for outcome in VERDICTS)
_ATTEMPT_LIVES = f"(t.epoch = k.epoch AND t.state IN ({_HELD}))"
_LIVE = f"""
    SELECT k.hash, k.task, k.epoch, k.agent, coalesce(t.priority, 0), coalesce(a.worker, ''),
        t.spec ->> '$.budget_usd',
        (SELECT count(*) FROM attempts e WHERE e.task = k.task AND e.epoch < k.epoch
            AND e.outcome IN ({_VERDICTS}))
    FROM tokens k LEFT JOIN tasks t ON t.id = k.task
        LEFT JOIN attempts a ON a.task = k.task AND a.epoch = k.epoch
    WHERE k.task = '' OR {_ATTEMPT_LIVES}"""  # noqa: S608 - constants of ours
_PRUNE = f"""
    DELETE FROM tokens WHERE hash IN (
        SELECT k.hash FROM tokens k LEFT JOIN tasks t ON t.id = k.task
        WHERE k.task != '' AND NOT coalesce({_ATTEMPT_LIVES}, 0) LIMIT {PRUNED})"""  # noqa: S608


def digest(token: bytes) -> str:
    """What is known of a token by everyone but its bearer."""
    return hashlib.sha256(token).hexdigest()


def issue(db: Database, claim: Claim, agent: str, now: float) -> str:
    """The token of an attempt; one that it had before is void."""
    with db.transaction():
        db.write(_PRUNE)
        db.write("DELETE FROM tokens WHERE task = ? AND epoch = ?", (claim.task.id, claim.epoch))
        return _new(db, claim.task.id, claim.epoch, agent, now)


def issue_by_hand(db: Database, agent: str, now: float) -> str:
    """A token that belongs to no attempt and lives until `revoke`."""
    with db.transaction():
        return _new(db, "", 0, agent, now)


def revoke(db: Database, token: str) -> None:
    with db.transaction():
        db.write("DELETE FROM tokens WHERE hash = ?", (digest(token.encode()),))


def revoke_by_hand(db: Database) -> None:
    """All that belong to no attempt: whoever should have revoked them was killed."""
    with db.transaction():
        db.write("DELETE FROM tokens WHERE task = ''")


def live(db: Database) -> tuple[Caller, ...]:
    """Who may send model traffic now."""
    return tuple(_caller(row) for row in db.rows(_LIVE))


def _new(db: Database, task: str, epoch: int, agent: str, now: float) -> str:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    db.write(
        "INSERT INTO tokens VALUES(?,?,?,?,?)", (digest(token.encode()), task, epoch, agent, now)
    )
    return token


def _caller(row: Row) -> Caller:
    hash_, task, epoch, agent, priority, worker, budget, verdicts = row
    assert isinstance(epoch, int)
    assert isinstance(priority, int)
    assert isinstance(verdicts, int)
    return Caller(
        hash=str(hash_),
        task=str(task),
        epoch=epoch,
        agent=str(agent),
        worker=str(worker),
        priority=priority,
        verdicts=verdicts,
        budget=round(budget * NANO) if isinstance(budget, int | float) else None,
        key=Caller.key_of(str(task), epoch, str(hash_)),
    )
