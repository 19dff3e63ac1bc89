"""A ledger that is missing, damaged or old is brought back from git; nothing begins empty."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

import pytest

from fleet.core.attempt import Outcome
from fleet.core.errors import DamagedError, FleetError, StorageError
from fleet.core.event import Kind
from fleet.store import events
from fleet.store.database import Database
from fleet.store.roster import Roster
from fleet.store.schema import MIGRATIONS
from fleet.worker.workspace import sweep
from tests.builders import NOW, a_task
from tests.recovery.place import Place, a_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return a_place(tmp_path)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_a_first_start_says_nothing_and_knows_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert place.states(thorough=True) == {}
    assert caplog.text == ""
    assert place.breaches() == []


def test_what_has_landed_is_known_to_a_ledger_made_anew(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.land("one", 2)
    place.commit("from outside")
    place.land("two", 1)
    place.open().close()
    place.layout.database.unlink()
    with caplog.at_level(logging.WARNING):
        assert place.states() == {"one": ("merged", 2), "two": ("merged", 1)}
    assert "state.db was missing: the ledger was rebuilt from git: 2 landed tasks" in caplog.text
    assert place.breaches() == []


def test_a_clone_of_a_repository_with_landings_knows_them_too(place: Place) -> None:
    place.land("one", 3)
    assert place.states() == {"one": ("merged", 3)}
    assert place.breaches() == []


def test_a_landed_task_is_not_open_again_when_the_files_are_read(place: Place) -> None:
    place.land("one", 1)
    fleet = place.open()
    fleet.roster.sync([a_task("one"), a_task("two", depends_on=("one",))], now=NOW)
    views = {view.task.id: view for view in fleet.roster.tasks()}
    assert views["one"].state == "merged"
    assert views["one"].task.prompt == "do one"
    assert views["two"].waiting == 0
    fleet.close()


def test_epochs_do_not_go_back(place: Place) -> None:
    place.open().close()
    head = place.git("rev-parse", "HEAD")
    place.attempt("one", 4, head)
    place.git("update-ref", "refs/fleet/salvage/two/3/work", head, git_dir=place.layout.hub)
    place.layout.attempt("three", 5).mkdir()
    place.layout.workspace("four", 6).mkdir()
    place.layout.database.unlink()
    assert place.states() == {
        "one": ("pending", 4),
        "two": ("pending", 3),
        "three": ("pending", 5),
        "four": ("pending", 6),
    }
    fleet = place.open()
    sweep(fleet)  # as a run does first: the folder of `four` is nobody's
    fleet.close()
    assert place.breaches() == []


def test_work_the_gate_has_passed_needs_no_second_agent(place: Place) -> None:
    place.open().close()
    head = place.commit("work")
    for task, verdict in (("good", "pass"), ("bad", "fail")):
        place.attempt(task, 1, head)
        place.layout.attempt(task, 1).mkdir()
        place.layout.gate_report(task, 1).write_text(f'{{\n  "verdict": "{verdict}"')
    place.layout.database.unlink()
    fleet = place.open()
    heads = fleet.db.rows("SELECT task, head FROM attempts ORDER BY task")
    assert heads == [("bad", ""), ("good", head)]
    fleet.close()


def test_a_workspace_that_stands_is_left_to_be_salvaged(place: Place) -> None:
    place.open().close()
    place.layout.workspace("one", 2).mkdir()
    base = place.git("rev-parse", "HEAD")
    place.layout.workspace_base("one", 2).write_text(base)
    place.layout.database.unlink()
    fleet = place.open()
    assert [(found.id, found.epoch) for found in fleet.ledger.held()] == [("one", 2)]
    assert fleet.attempt_start("one", 2)[0] == base
    fleet.close()


def test_a_flipped_bit_is_found_kept_and_mended(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.land("one", 1)
    fleet = place.open()
    fleet.roster.sync([a_task("two")], now=NOW)
    fleet.close()
    flip(place.layout.database, 4096 * 3 + 77)
    with pytest.raises(DamagedError, match=r"state\.db is damaged"):
        place.open(mends=False, thorough=True)
    with caplog.at_level(logging.WARNING):
        assert place.states(thorough=True) == {"one": ("merged", 1)}
    assert "it is kept as state.db.damaged-1" in caplog.text
    assert place.layout.damaged(1).exists()
    assert place.breaches() == []


@pytest.mark.parametrize("size", [0, 10, 4096, 20_000])
def test_a_truncated_ledger_is_mended(place: Place, size: int) -> None:
    place.land("one", 1)
    place.open().close()
    with place.layout.database.open("rb+") as file:
        file.truncate(size)
    assert place.states() == {"one": ("merged", 1)}


def test_an_older_copy_learns_what_has_happened_since(place: Place) -> None:
    fleet = place.open()
    fleet.roster.sync([a_task("one"), a_task("two")], now=NOW)
    fleet.close()
    older = place.layout.database.read_bytes()
    place.land("one", 1)
    place.attempt("two", 2, place.git("rev-parse", "HEAD"))
    place.layout.database.write_bytes(older)
    assert place.states(thorough=True) == {"one": ("merged", 1), "two": ("pending", 2)}
    assert place.breaches() == []


def test_a_trailer_in_an_agents_own_commit_lands_nothing(place: Place) -> None:
    place.git("checkout", "-q", "-b", "agent")
    place.land("other", 1)
    place.git("checkout", "-q", "main")
    place.git("merge", "-q", "--no-ff", "-m", "merged", "agent")
    assert place.states() == {}


def test_a_wal_without_its_database_is_not_played_into_the_new_one(place: Place) -> None:
    fleet = place.open()
    fleet.roster.sync([a_task("one")], now=NOW)
    wal = place.layout.database.with_name("state.db-wal")
    stray = wal.read_bytes()
    fleet.close()
    place.layout.database.unlink()
    wal.write_bytes(stray)
    assert place.states() == {}
    assert place.layout.damaged(1, "-wal").exists()


def test_whoever_has_the_lost_file_open_stops_and_is_waited_for(place: Place) -> None:
    old = place.open()
    place.layout.database.unlink()
    opened: list[Exception | None] = []

    def reopen() -> None:
        try:
            place.open().close()
        except FleetError as error:
            opened.append(error)
        else:
            opened.append(None)

    thread = threading.Thread(target=reopen)
    thread.start()
    with pytest.raises(StorageError, match="removed or replaced"):
        old.controls.set("a", "b")
    with pytest.raises(StorageError, match="removed or replaced"):
        old.db.version()
    assert opened == []  # the new one waits until nobody goes by the old one any more
    old.close()
    thread.join(60)
    assert opened == [None]


def test_children_of_a_run_mend_nothing(place: Place) -> None:
    place.open().close()
    place.layout.database.unlink()
    with pytest.raises(StorageError, match="`fleet run` makes it"):
        place.open(mends=False)


def test_without_the_whole_state_folder_landed_tasks_stay_landed(place: Place) -> None:
    place.land("one", 1)
    place.open().close()
    shutil.rmtree(place.layout.state)
    assert place.states() == {"one": ("merged", 1)}
    assert place.breaches() == []


def test_an_older_schema_is_kept_before_it_is_changed(place: Place) -> None:
    place.layout.prepare()
    db = Database(place.layout.database)
    db.migrate(MIGRATIONS[:3])
    Roster(db).sync([a_task("one")], now=NOW)
    db.close()
    assert place.states() == {"one": ("pending", 0)}
    kept = Database(place.layout.before_schema(len(MIGRATIONS)), read_only=True)
    assert kept.schema == 3
    assert kept.rows("SELECT id FROM tasks") == [("one",)]
    kept.close()


def test_a_rebuild_is_told_in_the_ledger(place: Place) -> None:
    place.land("one", 1)
    place.open().close()
    place.layout.database.unlink()
    fleet = place.open()
    told = events.newest(fleet.db, Kind.REBUILT)
    assert told is not None and "state.db was missing" in told.reason
    row = fleet.db.one("SELECT outcome FROM attempts WHERE task = 'one' AND epoch = 1")
    assert row == (Outcome.MERGED,)
    fleet.close()


def test_the_users_own_settings_of_git_hide_no_landing(place: Place) -> None:
    for setting in ("grep.patternType=fixed", "log.showSignature=true"):
        place.git("config", *setting.split("="))
    place.git("config", "i18n.logOutputEncoding", "UTF-16")
    place.land("one", 1)
    assert place.states() == {"one": ("merged", 1)}


def test_a_commit_before_the_first_look_is_not_made_external_by_a_later_one(place: Place) -> None:
    place.land("one", 1)
    place.states(thorough=True)
    first = place.git("rev-parse", "HEAD")
    place.commit("from outside")
    place.land("two", 1)
    assert place.states(thorough=True) == {"one": ("merged", 1), "two": ("merged", 1)}
    fleet = place.open()
    assert first not in fleet.queue.externals()
    fleet.close()
    assert place.breaches() == []
