from __future__ import annotations

from pathlib import Path

import pytest

from fleet.core.errors import FleetError, StaleError, StorageError
from fleet.store.database import Database
from fleet.store.schema import MIGRATIONS
from tests.builders import a_database


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    db = a_database(tmp_path)
    with pytest.raises(StaleError):
        _write_and_fail(db)
    assert db.one("SELECT * FROM controls") is None
    db.close()


def _write_and_fail(db: Database) -> None:
    with db.transaction():
        db.write("INSERT INTO controls VALUES('a', 'b')")
        raise StaleError("too late")


def test_the_version_moves_when_another_connection_commits(tmp_path: Path) -> None:
    one, two = a_database(tmp_path), a_database(tmp_path)
    before = one.version()
    with two.transaction():
        two.write("INSERT INTO controls VALUES('a', 'b')")
    assert one.version() != before
    one.close()
    two.close()


def test_commits_are_durable_by_default(tmp_path: Path) -> None:
    db = a_database(tmp_path)
    assert db.one("PRAGMA synchronous") == (2,)
    assert db.one("PRAGMA journal_mode") == ("wal",)
    db.close()


def test_an_older_fleet_refuses_a_newer_database(tmp_path: Path) -> None:
    db = a_database(tmp_path)
    db.rows(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(FleetError, match="newer fleet"):
        db.migrate(MIGRATIONS)
    db.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    a_database(tmp_path).close()
    db = Database(tmp_path / "state.db", read_only=True)
    with pytest.raises(Exception, match="read"):
        db.write("INSERT INTO controls VALUES('a', 'b')")
    db.close()


def test_a_file_that_is_no_database_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match=r"state\.db"):
        a_database(tmp_path)
