from __future__ import annotations

from fleet.core.traffic import JOINED, REPLAYED
from fleet.proxy.setbacks import Policy
from fleet.proxy.wire import Failure, Fault
from tests.proxy import outlets
from tests.proxy.outlets import ANSWER, JSON, LAST, STOP, event
from tests.proxy.world import World

ONCE = Policy(tries=1)  # what fails is not tried again
CUT_OFF = LAST.replace(b"end_turn", b"max_tokens")


def test_the_second_of_two_equal_requests_finds_the_first() -> None:
    world = World()
    flight, _ = world.launch(world.plan())
    assert world.flights.find(world.plan("two")) == (flight, JOINED)
    assert world.flights.find(world.plan("two", what=b"b")) is None


def test_what_ended_well_is_kept_for_others_and_not_for_its_reader() -> None:
    world = World()
    world.launch(world.plan())
    world.finish()
    assert len(world.flights) == 0
    assert world.flights.find(world.plan("one")) is None
    found = world.flights.find(world.plan("two"))
    assert found is not None
    assert found[1] == REPLAYED
    world.now += 70
    assert world.flights.find(world.plan("three")) is None


def test_nothing_is_kept_of_what_did_not_end_well() -> None:
    for number, events in enumerate(
        ((*ANSWER[:-2], CUT_OFF, STOP), ANSWER[:4], (*ANSWER[:3], outlets.ERROR))
    ):
        world = World(policy=ONCE)
        world.launch(world.plan())
        world.finish(-1, *events)
        assert world.flights.find(world.plan("two")) is None, number
        assert len(world.settled) == 1


def test_a_kept_tool_call_whose_arguments_do_not_parse_is_given_to_nobody() -> None:
    start = event(
        "content_block_start",
        '{"type":"content_block_start","index":0,"content_block":'
        '{"type":"tool_use","id":"t","name":"bash","input":{}}}',
    )
    torn = event(
        "content_block_delta",
        '{"type":"content_block_delta","index":0,"delta":'
        '{"type":"input_json_delta","partial_json":"{\\"a"}}',
    )
    world = World()
    world.launch(world.plan())
    world.finish(-1, ANSWER[0], start, torn, outlets.CLOSE, LAST, STOP)
    assert world.flights.find(world.plan("two")) is None
    assert len(world.flights.cache) == 0


def test_those_who_ask_again_after_a_failure_share_one_new_call() -> None:
    world = World(policy=ONCE)
    flight, outlet = world.launch(world.plan())
    world.board(flight, "two")
    world.upstream.calls[0].sink.failed(Failure(Fault.RESET, answered=True))
    assert outlet.status == 502
    assert world.flights.find(world.plan("one")) is None  # and leads
    again, _ = world.launch(world.plan("one"))
    assert world.flights.find(world.plan("two")) == (again, JOINED)


def test_a_connection_that_was_just_closed_costs_one_more_call_and_only_one() -> None:
    world = World(policy=ONCE)
    stale = Failure(Fault.RESET, reused=True)
    _, outlet = world.launch(world.plan())
    world.upstream.calls[0].sink.failed(stale)
    assert (len(world.upstream.calls), outlet.status) == (2, 0)
    assert world.settled == [(1, "None")]
    world.upstream.calls[1].sink.failed(stale)
    assert (len(world.upstream.calls), outlet.status) == (2, 502)
    assert [number for number, _ in world.settled] == [1, 2]


def test_a_call_nobody_waits_for_has_its_grace_and_then_ends() -> None:
    world = World()
    flight, _ = world.launch(world.plan())
    world.upstream.calls[0].stream(*ANSWER[:4])
    flight.leave(flight.subscribers[0])
    world.now += 2.9
    world.flights.tick()
    assert not world.upstream.calls[0].cancelled
    world.board(flight, "one")  # its client is back
    world.now += 10
    world.flights.tick()
    assert not world.upstream.calls[0].cancelled
    flight.leave(flight.subscribers[0])
    world.now += 3.1
    world.flights.tick()
    assert world.upstream.calls[0].cancelled
    assert world.settled == [(1, "cancelled")]


def test_what_is_held_back_too_long_is_let_go() -> None:
    world = World()
    _, outlet = world.launch(world.plan())
    world.upstream.calls[0].stream(ANSWER[0])
    world.now += 14
    world.flights.tick()
    assert outlet.status == 0
    world.now += 2
    world.flights.tick()
    assert outlet.body == ANSWER[0]


def test_one_goes_first_where_a_prompt_cache_is_cold() -> None:
    world = World()
    for number in range(4):
        world.launch(world.plan(str(number), prefix=b"p", what=str(number).encode()))
    assert len(world.upstream.calls) == 1
    world.upstream.calls[0].sink.head(200, outlets.EVENT_STREAM)
    assert len(world.upstream.calls) == 4
    world.launch(world.plan("5", prefix=b"p", what=b"5"))
    assert len(world.upstream.calls) == 5  # it is warm now


def test_the_next_goes_first_when_the_first_was_refused_or_left() -> None:
    world = World(policy=ONCE)
    flights = [
        world.launch(world.plan(str(number), prefix=b"p", what=str(number).encode()))[0]
        for number in range(4)
    ]
    world.upstream.calls[0].sink.head(529, JSON)
    world.upstream.calls[0].sink.end()
    assert len(world.upstream.calls) == 2
    flights[1].cancel()
    assert len(world.upstream.calls) == 3
    world.now += 4.1
    world.flights.tick()
    assert len(world.upstream.calls) == 4  # it took too long: nobody waits any more


def test_who_leaves_while_waiting_for_a_prompt_cache_never_calls() -> None:
    world = World()
    world.launch(world.plan("0", prefix=b"p", what=b"0"))
    waiting, _ = world.launch(world.plan("1", prefix=b"p", what=b"1"))
    waiting.leave(waiting.subscribers[0])
    world.now += 3.5
    world.flights.tick()
    world.upstream.calls[0].sink.head(200, outlets.EVENT_STREAM)
    assert len(world.upstream.calls) == 1
    assert world.settled == []


def test_closing_ends_every_call_and_writes_all_of_them_down() -> None:
    world = World()
    for number in range(3):
        world.launch(world.plan(what=str(number).encode()))
    world.flights.close()
    assert all(call.cancelled for call in world.upstream.calls)
    assert sorted(world.settled) == [(1, "cancelled"), (2, "cancelled"), (3, "cancelled")]
    assert len(world.flights) == 0
