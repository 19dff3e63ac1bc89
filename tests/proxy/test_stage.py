from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet.proxy.stage import BOUNDS_S, Door, Priority, Room


def _silent() -> None:
    """Somebody who is told and does nothing."""


def _into(told: list[str], name: str) -> Callable[[], None]:
    return lambda: told.append(name)


def test_a_room_lets_in_as_many_as_it_has_places() -> None:
    room = Room("assemble", 2)
    assert [room.enter(Priority.NORMAL, 0.0, _silent) for _ in range(2)] == [True, True]
    assert not room.enter(Priority.CRITICAL, 0.0, _silent)
    assert (room.occupancy, room.high_water, room.waiting) == (2, 2, 1)


def test_a_freed_place_goes_to_the_highest_priority_then_to_who_came_first() -> None:
    told: list[str] = []
    room = Room("inference", 1)
    room.enter(Priority.LOW, 0.0, _silent)
    for name, priority in (
        ("low", Priority.LOW),
        ("normal 1", Priority.NORMAL),
        ("normal 2", Priority.NORMAL),
        ("critical", Priority.CRITICAL),
        ("high", Priority.HIGH),
    ):
        assert not room.enter(priority, 0.0, _into(told, name))
    for _ in range(5):
        room.leave(0.0, 1.0)
        assert room.occupancy == 1
    assert told == ["critical", "high", "normal 1", "normal 2", "low"]
    room.leave(0.0, 1.0)
    assert (room.occupancy, room.entered, room.left) == (0, 6, 6)


def test_who_gave_up_is_not_let_in() -> None:
    told: list[str] = []
    room = Room("stream", 1)
    room.enter(Priority.NORMAL, 0.0, _silent)
    first, second = _into(told, "first"), _into(told, "second")
    room.enter(Priority.NORMAL, 0.0, first)
    room.enter(Priority.NORMAL, 0.0, second)
    assert room.give_up(first)
    room.leave(0.0, 1.0)
    assert told == ["second"]
    assert not room.give_up(second)  # let in meanwhile: its place is its own to leave
    assert room.occupancy == 1


def test_a_full_line_turns_away_the_last_of_the_lowest_priority() -> None:
    told: list[str] = []
    door = Door("rag", 1, line=2)
    door.enter(Priority.NORMAL, 0.0, _silent)

    def knock(name: str, priority: Priority) -> None:
        door.enter(priority, 0.0, _into(told, f"{name} in"), _into(told, f"{name} shed"))

    knock("low", Priority.LOW)
    knock("normal", Priority.NORMAL)
    assert told == []
    knock("high", Priority.HIGH)
    assert told == ["low shed"]
    knock("late normal", Priority.NORMAL)
    assert told == ["low shed", "late normal shed"]  # the newcomer: latest among its equals
    knock("late low", Priority.LOW)
    assert told[2:] == ["late low shed"]
    door.leave(0.0, 1.0)
    door.leave(0.0, 1.0)
    assert told[3:] == ["high in", "normal in"]
    assert (door.shed, door.entered, door.left) == (3, 3, 2)


def test_a_door_without_a_line_turns_away_at_once() -> None:
    told: list[str] = []
    door = Door("rag", 1, line=0)
    assert door.enter(Priority.NORMAL, 0.0, _silent)
    assert not door.enter(Priority.CRITICAL, 0.0, _into(told, "in"), _into(told, "shed"))
    assert told == ["shed"]
    assert not door.give_up(_silent)


def test_waits_and_work_are_measured() -> None:
    room = Room("inference", 1)
    room.enter(Priority.NORMAL, 10.0, _silent)
    room.enter(Priority.NORMAL, 10.5, _silent)
    room.leave(10.0, 12.0)
    room.leave(12.0, 12.003)
    assert room.waits.total == pytest.approx(1.5)
    assert room.waits.counts[BOUNDS_S.index(2.5)] == 1
    assert room.work.total == pytest.approx(2.003)
    assert room.work.counts[BOUNDS_S.index(2.5)] == 1
    assert room.work.counts[BOUNDS_S.index(0.005)] == 1
    assert sum(room.work.counts) == room.left == 2
    assert sum(room.waits.counts) == 1


def test_what_takes_for_ever_is_counted_too() -> None:
    room = Room("inference", 1)
    room.enter(Priority.NORMAL, 0.0, _silent)
    room.leave(0.0, 4000.0)
    assert room.work.counts[-1] == 1


def _retry(room: Room, now: float) -> float:
    """Without the jitter: the mean of many."""
    rng = random.Random(1)
    return sum(room.retry_after_s(now, rng) for _ in range(300)) / 300


def _run(room: Room, *, waiting: int, a_second: float, seconds: float) -> float:
    """Fills the room and its line, then lets them out and others in at that pace."""
    for _ in range(room.capacity + waiting):
        room.enter(Priority.NORMAL, 0.0, _into([], ""))
    now = 0.0
    for number in range(int(a_second * seconds)):
        now = (number + 1) / a_second
        room.leave(0.0, now)
        room.enter(Priority.NORMAL, now, _into([], ""))
    return now


def test_when_to_come_again_follows_the_pace_of_the_room() -> None:
    quick, slow = Room("quick", 8), Room("slow", 8)
    now = _run(quick, waiting=99, a_second=20.0, seconds=30.0)
    assert 4.0 <= _retry(quick, now) <= 6.0  # 100 before it and itself, 20 a second
    now = _run(slow, waiting=39, a_second=2.0, seconds=30.0)
    assert 17.0 <= _retry(slow, now) <= 23.0


def test_when_to_come_again_forgets_an_idle_time_and_notices_a_stall() -> None:
    room = Room("inference", 8)
    now = _run(room, waiting=99, a_second=20.0, seconds=30.0)
    assert _retry(room, now + 30.0) > 50.0
    for number in range(100):  # it moves again
        room.leave(0.0, now + 30.0 + number / 50)
        room.enter(Priority.NORMAL, now + 30.0 + number / 50, _into([], ""))
    assert 1.0 <= _retry(room, now + 32.0) <= 3.0


def test_when_to_come_again_is_within_its_bounds_and_jittered() -> None:
    room = Room("inference", 1)
    rng = random.Random(2)
    assert {room.retry_after_s(0.0, rng) for _ in range(50)} == {1}
    _run(room, waiting=30, a_second=1.0, seconds=20.0)
    given = {room.retry_after_s(20.0, rng) for _ in range(300)}
    assert min(given) >= 24
    assert max(given) <= 38
    assert len(given) > 8
    for _ in range(1000):
        room.enter(Priority.NORMAL, 20.0, _into([], ""))
    assert max(room.retry_after_s(20.0, rng) for _ in range(50)) == 60


def test_the_pace_is_noted_once_a_second_and_forgotten() -> None:
    room = Room("inference", 1)
    for number in range(5000):
        room.enter(Priority.NORMAL, number / 100, _silent)
        room.leave(0.0, number / 100)
    assert len(room._pace) <= 11


class Guest:
    def __init__(self, number: int, priority: Priority) -> None:
        self.number = number
        self.priority = priority
        self.state = "waits"

    def go(self) -> None:
        assert self.state == "waits"
        self.state = "in"

    def shed(self) -> None:
        assert self.state == "waits"
        self.state = "shed"


class TheDoor(RuleBasedStateMachine):
    """Against a list of everybody who ever came."""

    def __init__(self) -> None:
        super().__init__()
        self.door = Door("rag", 3, line=4)
        self.guests: list[Guest] = []

    def _are(self, state: str) -> list[Guest]:
        return [guest for guest in self.guests if guest.state == state]

    @rule(priority=st.sampled_from(Priority))
    def enter(self, priority: Priority) -> None:
        guest = Guest(len(self.guests), priority)
        waiting = self._are("waits")
        self.guests.append(guest)
        if self.door.enter(priority, 0.0, guest.go, guest.shed):
            guest.state = "in"
            assert not waiting
        elif len(waiting) == self.door.line:
            worst = max([*waiting, guest], key=lambda one: (one.priority, one.number))
            assert worst.state == "shed"
            assert [one for one in [*waiting, guest] if one.state == "shed"] == [worst]

    @precondition(lambda self: self._are("in"))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        leaver = data.draw(st.sampled_from(self._are("in")))
        waiting = self._are("waits")
        leaver.state = "left"
        self.door.leave(0.0, 1.0)
        if waiting:
            first = min(waiting, key=lambda one: (one.priority, one.number))
            assert [one for one in waiting if one.state == "in"] == [first]

    @precondition(lambda self: self._are("waits"))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        guest = data.draw(st.sampled_from(self._are("waits")))
        assert self.door.give_up(guest.go)
        guest.state = "gave up"
        assert not self.door.give_up(guest.go)

    @invariant()
    def nobody_is_lost(self) -> None:
        door = self.door
        assert door.occupancy == len(self._are("in")) <= door.capacity
        assert door.waiting == len(self._are("waits")) <= door.line
        assert door.occupancy == door.capacity or not door.waiting
        assert door.shed == len(self._are("shed"))
        assert door.left == len(self._are("left"))
        assert door.entered == door.occupancy + door.left
        assert door.occupancy <= door.high_water <= door.capacity


TheDoor.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_the_door_agrees_with_a_list_of_guests = TheDoor.TestCase
