"""What every process of a fleet does about a ledger that is lost, or newer than it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleet.core.errors import Exit
from fleet.store.database import Database
from fleet.store.schema import MIGRATIONS
from tests.recovery.place import CONFIG, Place, a_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """One task, which has landed."""
    made = a_place(tmp_path)
    (made.top / "tasks").mkdir()
    (made.top / "tasks" / "all.toml").write_text('[[tasks]]\nid = "one"\nprompt = "x"\n')
    made.land("one", 1)
    made.open().close()
    return made


def python(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=place.top,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("fleet", "run"),
        ("fleet", "worker"),
        ("fleet", "status"),
        ("fleet.worker", "--top", ".", "--number", "1"),
        ("fleet.landing", "--top", "."),
        ("fleet.proxy", "--top", "."),
    ],
)
def test_an_older_fleet_leaves_a_newer_ledger_alone(place: Place, words: tuple[str, ...]) -> None:
    db = Database(place.layout.database)
    db.rows(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    before = place.layout.database.read_bytes()
    done = python(place, *words)
    assert done.returncode == Exit.CONFIG, done.stdout + done.stderr
    assert "was written by a newer fleet" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.layout.database.read_bytes() == before


def test_fleet_run_brings_a_lost_ledger_back_and_runs_nothing_again(place: Place) -> None:
    place.layout.database.unlink()
    done = python(place, "fleet", "run")
    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "state.db was missing: the ledger was rebuilt from git: 1 landed task" in done.stderr
    assert "nothing to do" in done.stdout
    told = python(place, "fleet", "doctor").stdout
    assert "state.db was missing" in told
    assert "ok   state.db is whole" in told


@pytest.mark.parametrize("words", [("fleet", "doctor"), ("fleet", "doctor", "--audit")])
def test_the_doctor_names_damage_and_mends_nothing(place: Place, words: tuple[str, ...]) -> None:
    data = bytearray(place.layout.database.read_bytes())
    data[4096 * 2 + 50] ^= 1
    place.layout.database.write_bytes(data)
    done = python(place, *words)
    assert done.returncode != Exit.OK
    assert "damaged" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert place.layout.database.read_bytes() == data


def test_nothing_starts_where_there_is_no_room(place: Place) -> None:
    (place.top / "tasks" / "all.toml").write_text('[[tasks]]\nid = "two"\nprompt = "x"\n')
    (place.top / "fleet.toml").write_text(CONFIG + "[workspace]\nmin_free_mb = 9999999\n")
    done = python(place, "fleet", "run")
    assert done.returncode == Exit.IO, done.stdout + done.stderr
    assert "MB are free for workspaces" in done.stderr
    assert "[workspace] min_free_mb" in done.stderr
