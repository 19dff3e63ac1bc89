from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from fleet.core.errors import DamagedError, FleetError
from fleet.core.traffic import Call, Served, fold
from fleet.store.calls import GROUP_ROWS, MIGRATIONS, CallsWriter
from fleet.store.database import Database
from fleet.store.traffic import (
    By,
    bypasses,
    latest_calls,
    latest_served,
    open_calls,
    totals,
    totals_by,
)
from tests.traffic_rows import AT, a_call, a_served, some_rows


def written(path: Path, rows: Iterable[Call | Served]) -> Database:
    writer = CallsWriter(path)
    for row in rows:
        writer.add(row)
    writer.close()
    assert writer.fault == ""
    return open_calls(path)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = some_rows(random.Random(1), 300)
    db = written(tmp_path / "calls.db", rows)
    assert latest_calls(db, 999)[::-1] == [row for row in rows if isinstance(row, Call)]
    assert latest_served(db, 999)[::-1] == [row for row in rows if isinstance(row, Served)]
    assert [call.id for call in latest_calls(db, 2)] == [row.id for row in latest_calls(db, 9)][:2]
    db.close()


def test_sums_in_the_database_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = some_rows(random.Random(2), 500)
    db = written(tmp_path / "calls.db", rows)
    assert totals(db) == fold(rows)
    assert totals(db, task="one") == fold(row for row in rows if row.task == "one")
    late = AT + 250
    assert totals(db, since=late) == fold(row for row in rows if row.at >= late)
    assert totals(db, task="two", since=late) == fold(
        row for row in rows if row.task == "two" and row.at >= late
    )
    for by in By:
        names = {getattr(row, by) for row in rows}
        found = totals_by(db, by, since=late)
        for name in names:
            assert found[name] == fold(
                row for row in rows if getattr(row, by) == name and row.at >= late
            )
    db.close()


def test_reasons_for_not_sharing_are_counted(tmp_path: Path) -> None:
    rows = [a_served(dedup=dedup) for dedup in ("bypass:store", "bypass:off", "bypass:store")]
    db = written(tmp_path / "calls.db", [*rows, a_served()])
    assert list(bypasses(db).items()) == [("store", 2), ("off", 1)]
    assert bypasses(db, task="two") == {}
    db.close()


def test_money_beyond_a_float_is_exact(tmp_path: Path) -> None:
    large = 2**53 + 1
    db = written(tmp_path / "calls.db", [a_call(1, cost=large), a_call(2, cost=2)])
    assert totals(db).cost == large + 2
    db.close()


def test_no_row_is_lost_at_close(tmp_path: Path) -> None:
    count = 3 * GROUP_ROWS + 17
    db = written(tmp_path / "calls.db", (a_call(n) for n in range(1, count + 1)))
    assert totals(db).calls == count
    db.close()


def test_a_flush_returns_when_the_disk_has_the_rows(tmp_path: Path) -> None:
    writer = CallsWriter(tmp_path / "calls.db")
    db = open_calls(tmp_path / "calls.db")
    for number in range(1, 20):
        writer.add(a_call(number))
        writer.flush()
        assert totals(db).calls == number
    db.close()
    writer.close()


def test_rows_are_written_without_being_asked_for(tmp_path: Path) -> None:
    writer = CallsWriter(tmp_path / "calls.db")
    db = open_calls(tmp_path / "calls.db")
    pause = threading.Event()
    for number in (1, 2, 3):  # each after the writer has gone back to sleep
        writer.add(a_call(number))
        for _ in range(500):
            if totals(db).calls == number:
                break
            pause.wait(0.01)
        assert totals(db).calls == number
    db.close()
    writer.close()


def test_ids_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    first = CallsWriter(path)
    assert first.next_id == 1
    first.add(a_call(first.next_id))
    first.close()
    second = CallsWriter(path)
    assert second.next_id == 2
    second.add(a_served(call=7))  # of a call whose own row never reached the disk
    second.close()
    third = CallsWriter(path)
    assert third.next_id == 8
    third.close()


def test_readers_see_whole_groups_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    writer = CallsWriter(path)
    db = open_calls(path)
    seen = []
    for number in range(1, 400):
        writer.add(a_call(number))
        writer.add(a_served(call=number))
        if number % 40 == 0:
            found = totals(db)
            seen.append(found.calls)
            assert 0 <= found.calls - found.requests <= 1
    writer.flush()
    assert totals(db).calls == 399
    assert seen == sorted(seen)
    db.close()
    writer.close()


def test_looking_where_no_proxy_ran_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    db = open_calls(tmp_path / "calls.db")
    assert not totals(db).requests
    assert totals_by(db, By.MODEL) == {}
    db.close()
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    CallsWriter(path).close()
    db = Database(path)
    db.rows(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(FleetError, match="newer fleet"):
        CallsWriter(path)


CHILD = """\
import resource, signal, sys
from pathlib import Path
from fleet.store.calls import CallsWriter
from tests.traffic_rows import a_call, a_served

most = int(sys.argv[2])
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
writer = CallsWriter(Path(sys.argv[1]))
number = 0
while not writer.fault:
    for _ in range(50):
        number += 1
        writer.add(a_call(number))
        writer.add(a_served(call=number))
    writer.flush()
    if not writer.fault:
        print(number, flush=True)
print(writer.fault, file=sys.stderr)
writer.close()
"""


def a_child(path: Path, most: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(most)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def holds_all_up_to(path: Path, told: int) -> None:
    """Sound, without a gap, and not less than what was said to be on the disk."""
    db = Database(path)
    assert db.one("PRAGMA integrity_check") == ("ok",)
    found = db.one("SELECT count(*), max(id) FROM calls")
    assert found is not None
    count, last = found
    assert isinstance(count, int)
    assert count == last
    assert count >= told
    served = db.one("SELECT count(*), max(call) FROM served")
    assert served is not None
    assert served[0] == served[1]
    assert served[0] in (count, count - 1)
    db.close()


def test_a_killed_writer_leaves_whole_groups(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    child = a_child(path)
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(5)]
    os.kill(child.pid, signal.SIGKILL)
    rest, _ = child.communicate(timeout=20)
    told += [int(line) for line in rest.splitlines() if line.endswith("0")]
    holds_all_up_to(path, told[-1])
    after = CallsWriter(path)
    assert after.next_id > told[-1]
    after.close()


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    child = a_child(path, most=300_000)
    out, err = child.communicate(timeout=20)
    assert child.returncode == 0, err
    assert "stopped before anything else was done" in err
    told = [int(line) for line in out.splitlines()]
    holds_all_up_to(path, told[-1])


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_ledger_that_is_taken_away_is_a_fault_and_not_written_on(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "calls.db"
    writer = CallsWriter(path)
    writer.add(a_call(1))
    writer.flush()
    assert writer.fault == ""
    path.rename(tmp_path / "elsewhere")
    if how == "replaced":
        path.write_bytes(b"")
    writer.add(a_call(2))
    writer.flush()
    writer.close()
    assert "was removed or replaced" in writer.fault


def test_a_damaged_record_of_costs_is_refused_and_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    written(path, some_rows(random.Random(4), 300)).close()
    data = bytearray(path.read_bytes())
    for page in range(0, len(data), 4096):
        data[page + 1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=r"calls\.db.* has to be moved away by hand"):
        CallsWriter(path)
    assert path.read_bytes() == data
