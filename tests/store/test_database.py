from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from fleet.core.errors import DamagedError, FleetError, StaleError, StorageError
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


def test_every_flipped_bit_of_a_page_in_use_is_found(tmp_path: Path) -> None:
    db = a_database(tmp_path)
    with db.transaction():
        for number in range(200):
            db.write("INSERT INTO controls VALUES(?, ?)", (f"name-{number}", "x" * 50))
    db.close()
    path = tmp_path / "state.db"
    whole, rng = path.read_bytes(), random.Random(3)
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[rng.randrange(100, len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        assert _is_damaged(path)
    path.write_bytes(whole)
    assert not _is_damaged(path)


def _is_damaged(path: Path) -> bool:
    try:
        db = Database(path, read_only=True)
        try:
            return bool(db.find_damage())
        finally:
            db.close()
    except DamagedError:
        return True


def test_a_schema_that_lies_about_itself_is_not_obeyed(tmp_path: Path) -> None:
    db = a_database(tmp_path)
    assert db.one("PRAGMA trusted_schema") == (0,)
    assert db.one("PRAGMA cell_size_check") == (1,)
    with pytest.raises(Exception, match="may not be modified"):
        db.write("UPDATE sqlite_schema SET sql = ''")
    db.write("PRAGMA writable_schema=ON")
    with pytest.raises(Exception, match="may not be modified"):
        db.write("UPDATE sqlite_schema SET sql = ''")
    db.close()


def test_a_file_that_was_replaced_is_written_no_more(tmp_path: Path) -> None:
    db = a_database(tmp_path)
    (tmp_path / "state.db").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="removed or replaced"), db.transaction():
        pass
    with pytest.raises(StorageError, match="removed or replaced"):
        db.version()
    db.close()


def test_a_migration_that_is_cut_short_goes_on_at_the_next_start(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")

    def cut_short(_: Database) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.migrate((*MIGRATIONS[:2], cut_short, *MIGRATIONS[3:]))
    assert db.schema == 2
    db.migrate(MIGRATIONS)
    assert db.schema == len(MIGRATIONS)
    db.close()


def test_a_copy_is_whole_and_replaces_an_older_one(tmp_path: Path) -> None:
    db = a_database(tmp_path)
    copy = tmp_path / "copy.db"
    for value in ("a", "b"):
        with db.transaction():
            db.write("INSERT OR REPLACE INTO controls VALUES('x', ?)", (value,))
        db.copy_to(copy)
    db.close()
    kept = Database(copy, read_only=True)
    assert kept.rows("SELECT * FROM controls") == [("x", "b")]
    assert kept.schema == len(MIGRATIONS)
    assert kept.find_damage() == ""
    kept.close()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_file_from_before_checksums_goes_on_without_them(tmp_path: Path) -> None:
    plain = apsw.Connection(str(tmp_path / "state.db"), vfs="unix")
    plain.execute("PRAGMA journal_mode=WAL")
    plain.execute("CREATE TABLE kept(x)")
    plain.execute("INSERT INTO kept VALUES(7)")
    plain.close()
    db = a_database(tmp_path)
    with db.transaction():
        db.write("INSERT INTO kept VALUES(8)")
    assert db.find_damage() == ""
    db.close()
    again = a_database(tmp_path)
    assert again.rows("SELECT x FROM kept") == [(7,), (8,)]
    again.close()
