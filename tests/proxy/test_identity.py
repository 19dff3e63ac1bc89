from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.core.attempt import Claim, Outcome
from fleet.core.caller import Caller
from fleet.core.errors import StorageError
from fleet.proxy.identity import Callers, credentials
from fleet.store import tokens
from fleet.store.database import Database
from fleet.store.roster import Roster
from tests.builders import NOW, RNG, a_database, a_ledger, a_task, an_owner

TOKEN = "t0k3n"


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    db = a_database(folder)
    try:
        yield db
    finally:
        db.close()


def claimed(db: Database) -> Claim:
    Roster(db).sync([a_task()], now=NOW)
    found = a_ledger(db).claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    return found[0]


def with_callers(
    folder: Path,
    body: Callable[[Callers], Awaitable[None]],
    on_change: Callable[[tuple[Caller, ...]], None] = lambda _: None,
) -> None:
    async def main() -> None:
        callers = Callers(folder / "state.db", on_change=on_change)
        await callers.start()
        try:
            await body(callers)
        finally:
            callers.close()

    asyncio.run(main())


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.005)


def test_a_caller_is_known_as_long_as_its_attempt_lives(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        claim = claimed(db)
        token = tokens.issue(db, claim, "mini", NOW).encode()
        ended: list[Caller] = []

        async def body(callers: Callers) -> None:
            found = callers.find(token)
            assert found is not None
            assert (found.key, callers.live()) == ("one.1", (found,))
            assert callers.find(token) is found
            assert callers.find(b"other") is None
            a_ledger(db).ended("one", 1, Outcome.REJECTED, "why", now=NOW, rng=RNG)
            await until(lambda: callers.find(token) is None)
            assert ended == [found]

        with_callers(tmp_path, body, ended.extend)


def test_a_token_issued_just_now_is_found_by_asking(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        claim = claimed(db)

        async def body(callers: Callers) -> None:
            for _ in range(20):
                token = tokens.issue(db, claim, "mini", NOW).encode()
                found = callers.find(token) or await callers.refresh(token)
                assert found is not None

        with_callers(tmp_path, body)


def test_guesses_are_answered_together_and_seldom(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        token = tokens.issue(db, claimed(db), "mini", NOW).encode()

        async def body(callers: Callers) -> None:
            began = time.monotonic()
            rounds = 20
            for _ in range(rounds):
                found = await asyncio.gather(*(callers.refresh(b"%d" % n) for n in range(200)))
                assert set(found) == {None}
            assert time.monotonic() - began > (rounds - 2) * 0.01  # not as fast as they can ask
            assert await callers.refresh(b"") is None
            assert await callers.refresh(b"x" * 10_000) is None
            assert callers.find(token) is not None

        with_callers(tmp_path, body)


def test_an_asker_that_goes_away_does_not_disturb_the_others(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        token = tokens.issue_by_hand(db, "me", NOW)

        async def body(callers: Callers) -> None:
            other = tokens.issue_by_hand(db, "you", NOW).encode()
            async with asyncio.TaskGroup() as group:
                leaves = group.create_task(callers.refresh(other))
                stays = group.create_task(callers.refresh(other))
                await asyncio.sleep(0)
                leaves.cancel()
            assert stays.result() is not None
            tokens.revoke(db, token)
            await until(lambda: callers.find(token.encode()) is None)

        with_callers(tmp_path, body)


def test_without_a_ledger_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        with_callers(tmp_path, lambda _: asyncio.sleep(0))
    assert "callers" not in {thread.name for thread in threading.enumerate()}


def test_when_the_ledger_is_lost_nobody_is_let_in_and_it_is_said(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        token = tokens.issue_by_hand(db, "me", NOW).encode()
        errors: list[Exception] = []

        async def main() -> None:
            callers = Callers(tmp_path / "state.db", on_error=errors.append)
            await callers.start()
            assert callers.find(token) is not None
            db.write("DROP TABLE tokens")
            await until(lambda: bool(errors))
            assert await callers.refresh(token) is None
            callers.close()

        asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "target", "expected"),
    [
        ([("authorization", "Bearer t0k3n")], "/v1/messages", (TOKEN, "/v1/messages", False)),
        ([("authorization", "bearer  t0k3n ")], "/v1/x?a=1", (TOKEN, "/v1/x?a=1", False)),
        ([("x-api-key", "t0k3n")], "/v1/messages", (TOKEN, "/v1/messages", False)),
        ([("x-goog-api-key", "t0k3n")], "/v1beta/x", (TOKEN, "/v1beta/x", False)),
        ([], "/v1beta/x?key=t0k3n", (TOKEN, "/v1beta/x", False)),
        ([], "/v1beta/x?alt=sse&key=t0k3n&b=", (TOKEN, "/v1beta/x?alt=sse&b=", False)),
        ([], "/v1beta/x?monkey=1", ("", "/v1beta/x?monkey=1", False)),
        # what a header says goes first, and no other key goes on
        ([("x-api-key", "t0k3n")], "/x?key=other", (TOKEN, "/x", False)),
        ([], "/v1/messages", ("", "/v1/messages", False)),
        ([("authorization", "Basic abc")], "/x", ("Basic abc", "/x", False)),
        # the path
        ([], "/a/t0k3n/v1/messages?beta=true", (TOKEN, "/v1/messages?beta=true", False)),
        ([], "/a/t0k3n", (TOKEN, "/", False)),
        ([], "/a/t0k3n/", (TOKEN, "/", False)),
        ([], "/a/t0k3n?x", (TOKEN, "/?x", False)),
        ([], "/a//v1", ("", "/v1", False)),
        ([], "/a/t0k3n/a/x", (TOKEN, "/a/x", False)),
        ([("authorization", "Bearer own")], "/a/t0k3n/v1", (TOKEN, "/v1", True)),
        ([("x-api-key", "own")], "/a/t0k3n/v1", (TOKEN, "/v1", True)),
        ([], "/a/t0k3n/v1?key=own", (TOKEN, "/v1?key=own", True)),
        ([("authorization", "Bearer t0k3n")], "/a/t0k3n/v1", (TOKEN, "/v1", False)),
        ([], "/a/t0k3n/v1?key=t0k3n&x=1", (TOKEN, "/v1?x=1", False)),
        # the token itself never goes on to a provider
        (
            [("authorization", "Bearer own"), ("x-api-key", "t0k3n")],
            "/a/t0k3n/v1",
            (TOKEN, "/v1", False),
        ),
        ([("user-agent", "x"), ("cookie", "t0k3n")], "/a/t0k3n/v1", (TOKEN, "/v1", False)),
    ],
)
def test_the_token_is_found_wherever_a_client_puts_it(
    headers: list[tuple[str, str]], target: str, expected: tuple[str, str, bool]
) -> None:
    sent = tuple((name.encode(), value.encode()) for name, value in headers)
    token, rest, login = credentials(sent, target)
    assert (token.decode(), rest, login) == expected
