"""Claims are held back while a disk has no room, and go on by themselves once it has."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from fleet import control
from fleet.core.errors import NoSpaceError, StorageError
from fleet.core.task import TaskState
from fleet.process.identity import myself
from fleet.process.stop import StopFlag
from fleet.store.space import MB, Space, free
from fleet.wiring import Fleet
from fleet.worker.loop import Post, Worker
from tests.builders import NOW, a_task
from tests.recovery.place import a_place


class Rooms:
    """A worker by hand in a fleet whose disk has as much room as the test says."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.stop = StopFlag()
        fleet.roster.sync([a_task("one", prompt="@write one.txt\n1\n@end")], now=NOW)
        post = Post(owner=myself("hand"), number=None)
        self.worker = Worker(fleet, post, self.stop, random.Random(1))

    def need(self, more: int) -> None:
        floor = free(self.fleet.layout.state) + more if more else 0
        space = Space(layout=self.fleet.layout, floor=floor)
        self.fleet.__dict__["space"] = space  # as the cached property would

    def state(self) -> TaskState:
        view = self.fleet.roster.task("one")
        assert view is not None
        return view.state


def test_nothing_is_claimed_without_room_and_all_is_said_once(tmp_path: Path) -> None:
    rooms = Rooms(a_place(tmp_path).open())
    rooms.need(1000 * MB)
    for _ in range(2):
        assert not rooms.worker.may_claim()
    orders = control.read(rooms.fleet.controls)
    assert "MB are free" in orders.waits(NOW)
    assert rooms.state() is TaskState.PENDING
    rooms.need(0)
    assert rooms.worker.may_claim()
    assert control.read(rooms.fleet.controls).waits(NOW) == ""
    told = rooms.fleet.db.rows("SELECT kind FROM events WHERE kind IN ('paused', 'resumed')")
    assert told == [("paused",), ("resumed",)]
    rooms.fleet.close()


@pytest.mark.parametrize("kind", [NoSpaceError, StorageError])
def test_a_full_disk_gives_work_back_and_a_failing_one_ends_the_worker(
    tmp_path: Path, kind: type[StorageError]
) -> None:
    fleet = a_place(tmp_path).open()

    class Failing(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            raise kind("the disk")

    rooms = Rooms(replace(fleet, profiles=Failing()))  # type: ignore[arg-type]
    taken = rooms.worker.claim()
    assert taken is not None
    if kind is StorageError:
        with pytest.raises(StorageError, match="the disk"):
            rooms.worker.work(taken)
        assert rooms.state() is TaskState.CLAIMED  # nothing more was written
    else:
        rooms.worker.work(taken)
        assert rooms.state() is TaskState.PENDING
        assert control.read(rooms.fleet.controls).paused == "the disk"
        view = rooms.fleet.roster.task("one")
        assert view is not None and view.attempts == 0
    fleet.close()
