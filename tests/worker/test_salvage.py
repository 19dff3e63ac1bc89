from __future__ import annotations

import shutil
import threading
from pathlib import Path

from fleet.repo import workspace
from fleet.wiring import open_fleet
from fleet.worker.workspace import open_rooms, salvage
from tests.builders import NOW, a_task, an_owner
from tests.e2e.conftest import new_repository


def test_what_is_salvaged_twice_is_the_same_commit(tmp_path: Path) -> None:
    """Whoever salvages may be killed before the ledger says that the attempt has ended."""
    made = new_repository(tmp_path)
    fleet = open_fleet(made.path, {**made.env})
    fleet.roster.sync([a_task("a")], now=NOW)
    found = fleet.ledger.claim(an_owner(), lambda _: True, now=NOW)
    assert found is not None
    base, rooms = fleet.take_tip(), open_rooms(fleet, "a", 1)
    rooms.prepare(fleet, found[0], base)
    fleet.ledger.running(found[0], agent="x", base=base, now=NOW)
    (rooms.work / "new.txt").write_text("new")
    kept = tmp_path / "kept"
    rooms.root.rename(kept)
    heads = []
    for _ in range(2):
        workspace.remove(rooms.root, beneath=fleet.layout.workspaces)
        _copy(kept, rooms.root)
        salvage(fleet, "a", 1)
        heads.append(fleet.hub.read_ref("refs/fleet/salvage/a/1/work"))
        threading.Event().wait(1.1)  # a commit's time is in seconds
    fleet.close()
    assert heads[0] is not None
    assert heads[0] == heads[1]


def _copy(source: Path, to: Path) -> None:
    shutil.copytree(source, to, symlinks=True)
