"""Calls under pressure: what reaches the upstream and when, and what the client is told."""

from __future__ import annotations

import json
import math

import pytest

from fleet.config import UpstreamKind
from fleet.proxy.pressure.breaker import State
from fleet.proxy.pressure.lane import Bounds
from fleet.proxy.setbacks import Policy
from fleet.proxy.stage import Priority
from fleet.proxy.wire import Failure, Fault, Headers, header
from tests.proxy.outlets import ANSWER, ERROR, START, Outlet
from tests.proxy.world import BY_HAND, FILLER, KEY, World, answer, refuse

DOWN = Failure(Fault.CONNECT, "refused")


def after(seconds: float) -> Headers:
    return ((b"retry-after", b"%g" % seconds),)


def body_of(outlet: Outlet) -> dict[str, dict[str, str]]:
    found = json.loads(outlet.body)
    assert isinstance(found, dict)
    return found


# -- 429 ----------------------------------------------------------------------------------------


def test_a_429_is_held_until_its_time_and_never_passed_on() -> None:
    world = World()
    outlet = world.ask()
    refuse(world.upstream.calls[0], 429, after(120))
    world.pass_time(119.7)
    assert len(world.upstream.calls) == 1
    world.pass_time(1)
    assert world.upstream.asked_at[1] >= 100 + 120
    answer(world.upstream.calls[1])
    assert outlet.status == 200
    assert outlet.body.endswith(b"".join(ANSWER))
    assert world.heard.said == []


def test_nobody_else_asks_before_the_providers_time_either() -> None:
    world = World()
    world.ask("one")
    refuse(world.upstream.calls[0], 429, after(30))
    for number in range(20):
        world.ask(f"other-{number}", what=b"%d" % number)
        world.pass_time(1)
    assert len(world.upstream.calls) == 1
    world.pass_time(30)
    assert len(world.upstream.calls) > 1
    assert min(world.upstream.asked_at[1:]) >= 130


def test_without_a_time_it_waits_longer_each_time() -> None:
    world = World()
    world.ask()
    for number in range(5):
        refuse(world.upstream.calls[number], 429)
        world.pass_time(61)
    waits = [
        b - a for a, b in zip(world.upstream.asked_at, world.upstream.asked_at[1:], strict=False)
    ]
    for number, waited in enumerate(waits):
        assert 2**number * 0.5 <= waited <= 2**number + 61


def test_another_key_is_asked_at_once() -> None:
    world = World(keys={"p": 2})
    outlet = world.ask()
    refuse(world.upstreams["p/0"].calls[0], 429, after(60))
    assert len(world.upstreams["p/1"].calls) == 1
    answer(world.upstreams["p/1"].calls[0])
    assert outlet.status == 200
    assert world.rows == [("p/0", 429), ("p/1", 200)]


def test_a_stream_that_waits_is_kept_with_fillers_and_then_has_its_answer() -> None:
    world = World()
    outlet = world.ask()
    refuse(world.upstream.calls[0], 429, after(60))
    world.pass_time(14)
    assert outlet.status == 0  # a clean status is still possible
    world.pass_time(2)
    assert (outlet.status, outlet.body) == (200, FILLER)
    world.pass_time(46)
    assert outlet.body == FILLER * 4
    answer(world.upstream.calls[1])
    assert outlet.body == FILLER * 4 + b"".join(ANSWER)
    assert outlet.ended


def test_an_error_after_a_long_wait_is_an_event() -> None:
    world = World()
    outlet = world.ask()
    refuse(world.upstream.calls[0], 429, after(20))
    world.pass_time(21)
    said = b'{"type":"error","error":{"type":"invalid_request_error","message":"too long"}}'
    refuse(world.upstream.calls[1], 400, body=said)
    assert outlet.body == FILLER + b"event: error\ndata: " + said + b"\n\n"
    assert outlet.ended


def test_a_wait_that_is_too_long_parks_the_attempt_at_once() -> None:
    world = World()
    outlet = world.ask("task")
    refuse(world.upstream.calls[0], 429, after(600))
    world.pass_time(1)
    assert world.heard.said[0] == "park task.1 until 1750000700: the provider's limit"
    assert outlet.status == 0  # its agent is stopped, and hears nothing


def test_who_has_no_attempt_is_told_when_to_come_again() -> None:
    world = World()
    outlet = world.ask(BY_HAND)
    refuse(world.upstream.calls[0], 429, after(600))
    world.pass_time(1)
    assert outlet.status == 429
    assert header(outlet.headers, b"retry-after") == b"60"  # SDKs take a longer one for none
    assert body_of(outlet)["error"]["type"] == "rate_limit_error"
    assert world.heard.said == []


def test_a_used_up_subscription_parks_its_attempt_and_pauses_the_fleet() -> None:
    world = World()
    world.ask("task")
    window = (
        (b"anthropic-ratelimit-unified-status", b"rejected"),
        (b"anthropic-ratelimit-unified-reset", b"1750000700"),
        (b"anthropic-ratelimit-unified-representative-claim", b"five_hour"),
    )
    refuse(world.upstream.calls[0], 429, window)
    world.pass_time(0.5)
    why = "the subscription has used up its five-hour limit"
    assert world.heard.said[:2] == [
        f"park task.1 until 1750000700: {why}",
        f"pause until 1750000700: {why}",
    ]


def test_with_another_key_left_the_fleet_is_not_paused() -> None:
    world = World(keys={"p": 2})
    world.ask("task")
    refuse(
        world.upstreams["p/0"].calls[0],
        429,
        (
            (b"anthropic-ratelimit-unified-status", b"rejected"),
            (b"anthropic-ratelimit-unified-reset", b"1750000700"),
        ),
    )
    world.pass_time(1)
    assert world.heard.said == []
    assert len(world.upstreams["p/1"].calls) == 1


def test_joiners_of_a_held_call_cost_no_call_and_its_joining_agents_are_parked_too() -> None:
    world = World()
    flight, _ = world.launch(world.plan("one"))
    refuse(world.upstream.calls[0], 429, after(600))
    found = world.flights.find(world.plan("two"))
    assert found is not None
    assert found[0] is flight
    world.board(flight, "two")
    world.pass_time(1)
    assert sorted({said.split()[1] for said in world.heard.said}) == ["one.1", "two.1"]
    assert len(world.upstream.calls) == 1


def test_nobody_waits_for_the_prompt_cache_of_a_call_that_is_held() -> None:
    world = World()
    for number in range(3):
        what = b"%d" % number
        world.launch(world.plan(f"t{number}", prefix=b"p", what=what))
    refuse(world.upstream.calls[0], 429, after(600))
    world.pass_time(1)
    assert {said.split()[1] for said in world.heard.said} == {"t0.1", "t1.1", "t2.1"}
    assert len(world.upstream.calls) == 1


def test_who_leaves_while_it_is_held_costs_no_call() -> None:
    world = World()
    flight, _ = world.launch(world.plan())
    refuse(world.upstream.calls[0], 429, after(30))
    flight.leave(flight.subscribers[0])
    world.pass_time(60)
    assert len(world.upstream.calls) == 1
    assert len(world.flights) == 0


def test_a_key_without_money_is_no_reason_to_wait() -> None:
    world = World()
    outlet = world.ask()
    spent = b'{"type":"error","error":{"type":"billing_error","message":"credit balance"}}'
    refuse(world.upstream.calls[0], 429, body=spent)
    assert outlet.status == 429
    assert header(outlet.headers, b"x-should-retry") == b"false"
    assert body_of(outlet)["error"]["type"] == "billing_error"
    assert any(said.startswith("fault") for said in world.heard.said)


# -- limits -------------------------------------------------------------------------------------


def test_a_limit_that_is_set_is_never_passed() -> None:
    world = World(bounds=Bounds(requests=60))
    for number in range(100):
        world.ask(f"a{number % 5}", what=b"%d" % number)
    assert len(world.upstream.calls) == 60
    world.pass_time(10)
    assert len(world.upstream.calls) == pytest.approx(70, abs=1)
    world.pass_time(31)
    assert len(world.upstream.calls) == 100


def test_so_many_at_a_time_and_no_more() -> None:
    world = World(bounds=Bounds(concurrency=3))
    for number in range(10):
        world.ask(f"a{number}", what=b"%d" % number)
    for done in range(10):
        assert len(world.upstream.calls) == min(10, 3 + done)
        answer(world.upstream.calls[done])
    assert world.lane().in_flight == 0


def test_limits_are_learned_from_what_the_provider_says() -> None:
    world = World()
    world.ask("a", what=b"0")
    said = (
        (b"anthropic-ratelimit-requests-limit", b"60"),
        (b"anthropic-ratelimit-requests-remaining", b"2"),
    )
    answer(world.upstream.calls[0], said)
    for number in range(1, 6):
        world.ask("a", what=b"%d" % number)
    assert len(world.upstream.calls) == 3
    world.pass_time(3.1)
    assert len(world.upstream.calls) == 6


def test_input_that_the_prompt_cache_has_is_not_counted() -> None:
    """A conversation of 20,000 tokens a turn, 50 turns a minute, within 30,000 tokens a minute."""
    cached = START.replace(b'"input_tokens":7', b'"input_tokens":7,"cache_read_input_tokens":20000')
    world = World(bounds=Bounds(input=30_000))
    for turn in range(50):
        world.launch(world.plan("a", what=b"%d" % turn), size=80_000 + turn * 100)
        world.pass_time(1.2)
        assert len(world.upstream.calls) == turn + 1
        answer(world.upstream.calls[turn], events=(cached, *ANSWER[1:]))


def test_a_higher_priority_goes_first_and_a_joiner_brings_its_own() -> None:
    world = World(bounds=Bounds(concurrency=1))
    world.ask("busy", what=b"busy")
    world.ask("normal", what=b"normal")
    low, _ = world.launch(world.plan("low", what=b"low", level=Priority.LOW))
    world.dispatch.lift(low, Priority.HIGH)
    answer(world.upstream.calls[0])
    assert world.upstream.calls[1].sink is low


def test_the_last_fifth_is_left_to_those_who_had_less() -> None:
    world = World(bounds=Bounds(concurrency=10))
    world.ask("modest", what=b"m0")
    for number in range(20):
        world.ask("greedy", what=b"g%d" % number)
    assert len(world.upstream.calls) == 8  # a newcomer finds room
    world.ask("modest", what=b"m1")
    assert len(world.upstream.calls) == 8  # behind who is in line, for a moment
    world.pass_time(0.3)
    assert len(world.upstream.calls) == 9
    world.pass_time(15)  # the others have gone: all of it is for who is there
    assert len(world.upstream.calls) == 10


def test_a_call_that_was_handed_over_to_who_had_much_gives_way_and_holds_up_nobody() -> None:
    world = World(bounds=Bounds(concurrency=10))
    for number in range(9):
        world.ask("greedy", what=b"g%d" % number)
    world.ask("modest", what=b"m")
    flight, _ = world.launch(world.plan("light", what=b"l"))
    world.board(flight, "greedy")
    flight.leave(flight.subscribers[0])
    assert flight.caller.key == "greedy.1"
    answer(world.upstream.calls[0])  # for ever, while the line was asked for others in vain
    assert len(world.upstream.calls) == 10
    world.pass_time(11)
    assert len(world.upstream.calls) == 11


# -- failures -----------------------------------------------------------------------------------


def test_an_overload_is_tried_again_and_nobody_hears_of_it() -> None:
    world = World()
    outlet = world.ask()
    refuse(world.upstream.calls[0], 529)
    world.pass_time(1)
    world.upstream.calls[1].sink.failed(Failure(Fault.FIRST_BYTE))
    world.pass_time(1)
    answer(world.upstream.calls[2])
    assert (outlet.status, outlet.body) == (200, b"".join(ANSWER))
    assert world.rows == [("p/0", 529), ("p/0", 0), ("p/0", 200)]


def test_an_error_event_before_any_content_is_tried_again_too() -> None:
    world = World()
    outlet = world.ask()
    world.upstream.calls[0].stream(START, ERROR)
    world.pass_time(1)
    answer(world.upstream.calls[1])
    assert outlet.body == b"".join(ANSWER)


def test_a_used_connection_that_breaks_within_an_answer_was_not_stale() -> None:
    world = World(policy=Policy(tries=1))
    outlet = world.ask()
    world.upstream.calls[0].sink.failed(Failure(Fault.RESET, answered=True, reused=True))
    assert (outlet.status, len(world.upstream.calls)) == (502, 1)


def test_after_the_first_content_nothing_is_tried_again() -> None:
    world = World()
    outlet = world.ask()
    world.upstream.calls[0].stream(*ANSWER[:3])
    world.upstream.calls[0].sink.failed(Failure(Fault.RESET, answered=True))
    world.pass_time(5)
    assert len(world.upstream.calls) == 1
    assert outlet.ended


def test_the_fourth_failure_is_passed_on_as_it_is() -> None:
    world = World()
    outlet = world.ask()
    for number in range(4):
        refuse(world.upstream.calls[number], 503, body=b'{"number":%d}' % number)
        world.pass_time(3)
    assert (outlet.status, outlet.body) == (503, b'{"number":3}')
    assert len(world.upstream.calls) == 4


def test_a_request_that_is_wrong_is_asked_once() -> None:
    world = World(keys={"p": 2, "q": 1})
    for number, status in enumerate((400, 413, 422)):
        outlet = world.ask(what=b"%d" % number)
        refuse(world.upstream.calls[number], status)
        assert outlet.status == status
    assert sum(len(each.calls) for each in world.upstreams.values()) == 3


def test_the_next_upstream_answers_when_the_first_cannot_and_is_named_for_it() -> None:
    world = World(keys={"p": 1, "q": 1})
    flight, outlet = world.launch(world.plan())
    world.upstreams["p/0"].calls[0].sink.failed(DOWN)
    world.pass_time(1)
    world.upstreams["p/0"].calls[1].sink.failed(DOWN)
    answer(world.upstreams["q/0"].calls[0])
    assert outlet.status == 200
    assert flight.plan.key is not None
    assert flight.plan.key[1] == "q"
    assert world.flights.find(world.plan("two")) is None  # it is not what p would have said


def test_what_one_upstream_does_not_have_another_may() -> None:
    world = World(keys={"p": 2, "q": 1})
    outlet = world.ask()
    refuse(world.upstreams["p/0"].calls[0], 404)
    assert not world.upstreams["p/1"].calls
    refuse(world.upstreams["q/0"].calls[0], 404, body=b'{"last":1}')
    assert (outlet.status, outlet.body) == (404, b'{"last":1}')


def test_a_bad_key_is_not_used_again() -> None:
    world = World(keys={"p": 2})
    world.ask()
    refuse(world.upstreams["p/0"].calls[0], 401)
    answer(world.upstreams["p/1"].calls[0])
    world.ask("two", what=b"b")
    assert len(world.upstreams["p/0"].calls) == 1
    assert world.heard.said == ["key p/0: its key was refused (401): {}"]


def test_the_last_bad_key_stops_the_fleet_and_the_agent_hears_why() -> None:
    world = World()
    outlet = world.ask()
    refuse(world.upstream.calls[0], 401, body=b'{"error":{"message":"invalid x-api-key"}}')
    assert outlet.status == 401
    assert any("fault" in said and "invalid x-api-key" in said for said in world.heard.said)


def test_a_provider_that_repeats_the_key_it_refuses_tells_it_to_nobody() -> None:
    world = World()
    outlet = world.ask()
    refuse(world.upstream.calls[0], 401, body=b'{"error":"bad key: %b"}' % KEY)
    assert outlet.body == b'{"error":"bad key: [key]"}'
    assert world.heard.said
    assert not any(KEY.decode() in said for said in world.heard.said)


def test_who_asks_after_the_last_key_was_refused_is_not_kept_waiting_for_it() -> None:
    world = World()
    world.ask()
    refuse(world.upstream.calls[0], 401)
    outlet = world.ask("late", what=b"late")
    world.pass_time(0.5)
    assert (outlet.status, len(world.upstream.calls)) == (401, 1)
    assert not any(said.startswith("park") for said in world.heard.said)


def test_a_clients_own_login_is_its_own_affair() -> None:
    world = World(keyless=True)
    outlet = world.ask()
    refuse(world.upstream.calls[0], 401)
    assert outlet.status == 401
    assert world.heard.said == []
    world.ask("two", what=b"b")
    assert len(world.upstream.calls) == 2


def test_an_agent_cannot_have_a_key_set_aside_by_naming_an_account_that_is_not_ours() -> None:
    world = World()
    _, outlet = world.launch(world.plan(), headers=((b"openai-organization", b"org-other"),))
    refuse(world.upstream.calls[0], 401)
    assert outlet.status == 401
    world.ask("two", what=b"b")
    assert len(world.upstream.calls) == 2
    assert world.heard.said == []


def test_a_request_has_one_deadline_for_all_its_tries() -> None:
    world = World(policy=Policy(deadline_s=30, hold_max_s=3600))
    outlet = world.ask()
    refuse(world.upstream.calls[0], 429, after(100))
    world.pass_time(40)
    assert b"had no room for it in time" in outlet.body
    assert len(world.upstream.calls) == 1


def test_a_429_that_comes_after_the_deadline_is_told_as_what_it_is_to_the_client() -> None:
    world = World(policy=Policy(deadline_s=30, hold_max_s=3600))
    outlet = world.ask()
    world.now += 31
    refuse(world.upstream.calls[0], 429, after(1))
    assert outlet.status == 504


# -- breakers -----------------------------------------------------------------------------------


def opened(world: World) -> None:
    for number in range(5):
        world.ask(f"early-{number}", what=b"early %d" % number)
    for number in range(5):
        world.upstream.calls[number].sink.failed(Failure(Fault.FIRST_BYTE))


def test_two_hundred_callers_at_half_open_and_three_reach_the_upstream() -> None:
    world = World(policy=Policy(tries=1))
    opened(world)
    assert world.lane().breaker.state is State.OPEN
    for number in range(200):
        world.ask(f"a{number}", what=b"%d" % number)
    assert len(world.upstream.calls) == 5
    world.pass_time(75)
    assert len(world.upstream.calls) == 5 + 3
    for number in (5, 6, 7):
        answer(world.upstream.calls[number])
    assert len(world.upstream.calls) == 5 + 200
    assert world.heard.said == ["breaker p/0: open", "breaker p/0: closed"]


def test_a_probe_that_fails_keeps_the_others_waiting() -> None:
    world = World(policy=Policy(tries=1, hold_max_s=3600))
    opened(world)
    for number in range(10):
        world.ask(f"a{number}", what=b"%d" % number)
    world.pass_time(75)
    for sent in world.upstream.calls[5:8]:
        sent.sink.failed(DOWN)
    world.pass_time(60)
    assert len(world.upstream.calls) == 8


def test_a_probe_whose_client_leaves_says_nothing_and_another_goes() -> None:
    world = World(policy=Policy(tries=1))
    opened(world)
    flights = [world.launch(world.plan(f"a{n}", what=b"%d" % n))[0] for n in range(4)]
    world.pass_time(75)
    assert len(world.upstream.calls) == 8
    gone = next(flight for flight in flights if flight.sent_at)
    gone.cancel()
    assert len(world.upstream.calls) == 9
    assert world.lane().breaker.state is State.HALF_OPEN


def test_limits_and_wrong_requests_open_no_breaker() -> None:
    world = World()
    for number in range(30):
        world.ask("a", what=b"%d" % number)
        refuse(world.upstream.calls[-1], (400, 404, 413)[number % 3])
    for _ in range(10):
        world.ask("b")
        refuse(world.upstream.calls[-1], 429, after(0.1))
        world.pass_time(10)
    assert world.lane().breaker.state is State.CLOSED


def test_by_hand_one_hears_at_once_that_a_breaker_is_open() -> None:
    world = World(policy=Policy(tries=1))
    opened(world)
    outlet = world.ask(BY_HAND, what=b"now")
    world.pass_time(0.5)
    assert outlet.status == 529
    assert 45 <= int(header(outlet.headers, b"retry-after")) <= 60


def test_with_a_breaker_open_and_the_next_upstream_busy_nobody_is_sent_away() -> None:
    world = World(keys={"p": 1, "q": 1}, policy=Policy(tries=1))
    opened(world)
    world.ask("other", what=b"other")
    refuse(world.upstreams["q/0"].calls[0], 429, after(5))
    outlet = world.ask(BY_HAND, what=b"mine")
    world.pass_time(10)
    assert outlet.status == 0
    for number in (1, 2):  # one at a time, since the refusal
        answer(world.upstreams["q/0"].calls[number])
    assert outlet.status == 200


def test_with_a_breaker_open_the_next_upstream_is_asked_at_once() -> None:
    world = World(keys={"p": 1, "q": 1}, policy=Policy(tries=1))
    opened(world)
    world.ask("late", what=b"late")
    assert len(world.upstreams["p/0"].calls) == 5
    assert len(world.upstreams["q/0"].calls) == 1


def test_it_is_known_of_openai_that_it_counts_what_an_answer_may_have() -> None:
    for kind, expected in ((UpstreamKind.OPENAI, 4), (UpstreamKind.ANTHROPIC, 10)):
        world = World(kind=kind, bounds=Bounds(output=40_000))
        for number in range(10):
            world.ask("a", what=b"%d" % number, most=10_000)
        assert len(world.upstream.calls) == expected


def test_nothing_stands_in_the_way_where_nothing_is_known() -> None:
    world = World()
    for number in range(500):
        world.ask(f"a{number % 7}", what=b"%d" % number)
    assert len(world.upstream.calls) == 500
    assert world.lane().is_free
    assert world.lane().pace.bound == math.inf
