from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet.proxy.warmth import CAP_S, WARM_S, Go, PrefixKey, Ticket, Warmth

KEY = PrefixKey(b"prefix", "account", "model")
OTHER = PrefixKey(b"prefix", "account", "another model")


class Gate:
    """A gate and who was let go, in order."""

    def __init__(self) -> None:
        self.warmth = Warmth()
        self.gone: list[str] = []
        self.tickets: dict[str, Ticket] = {}

    def ask(self, name: str, now: float, key: PrefixKey = KEY) -> Go:
        ticket = self.tickets[name] = Ticket(lambda: self.gone.append(name))
        return self.warmth.ask(key, ticket, now)

    def dispatched(self, name: str, now: float) -> None:
        self.warmth.dispatched(KEY, self.tickets[name], now)

    def answered(self, name: str, now: float) -> None:
        self.warmth.answered(KEY, self.tickets[name], now)

    def failed(self, name: str, now: float) -> None:
        self.warmth.failed(KEY, self.tickets[name], now)


def _three() -> Gate:
    gate = Gate()
    assert [gate.ask(name, 0.0) for name in "abc"] == [Go.NOW, Go.WAIT, Go.WAIT]
    return gate


def test_one_goes_first_and_the_others_at_its_first_event() -> None:
    gate = _three()
    gate.dispatched("a", 0.0)
    gate.warmth.due(3.9)
    assert gate.gone == []
    gate.answered("a", 3.9)
    assert gate.gone == ["b", "c"]
    assert gate.ask("d", 4.0) is Go.NOW
    assert gate.warmth.waiting == 0


def test_prefixes_keys_and_models_are_warmed_apart() -> None:
    gate = _three()
    assert gate.ask("d", 0.0, OTHER) is Go.NOW


def test_a_prefix_is_warm_for_five_minutes_after_its_last_use() -> None:
    gate = _three()
    gate.answered("a", 0.0)
    gate.ask("d", WARM_S - 1)
    gate.answered("d", WARM_S - 1)
    assert gate.ask("e", 2 * WARM_S - 1.5) is Go.NOW
    assert gate.ask("f", 2 * WARM_S - 0.5) is Go.NOW  # cold again: it leads
    assert gate.ask("g", 2 * WARM_S - 0.5) is Go.WAIT


def test_the_cap_runs_from_the_leaders_dispatch_not_from_its_queueing() -> None:
    gate = _three()
    gate.warmth.due(100.0)
    assert gate.gone == []
    assert gate.warmth.next_deadline() is None
    gate.dispatched("a", 100.0)
    assert gate.warmth.next_deadline() == 100.0 + CAP_S
    gate.warmth.due(100.0 + CAP_S - 0.001)
    assert gate.gone == []
    gate.warmth.due(100.0 + CAP_S)
    assert gate.gone == ["b", "c"]
    assert gate.warmth.next_deadline() is None


def test_after_the_cap_nobody_waits_until_the_prefix_is_cold_again() -> None:
    gate = _three()
    gate.dispatched("a", 0.0)
    assert gate.ask("d", CAP_S) is Go.NOW  # before the timer has come round, too
    gate.warmth.due(CAP_S)
    assert gate.ask("e", CAP_S + 1) is Go.NOW
    gate.failed("a", CAP_S + 2)
    assert gate.gone == ["b", "c"]
    assert gate.ask("f", CAP_S + 3) is Go.NOW
    assert gate.ask("g", CAP_S + 3) is Go.WAIT


def test_any_answer_warms_the_prefix() -> None:
    gate = _three()
    gate.dispatched("a", 0.0)
    gate.warmth.due(CAP_S)
    gate.answered("b", CAP_S + 1)
    gate.failed("a", CAP_S + 2)
    assert gate.ask("d", CAP_S + 3) is Go.NOW
    assert gate.ask("e", CAP_S + 3) is Go.NOW


def test_a_leader_without_an_answer_hands_over_to_exactly_one() -> None:
    gate = _three()
    gate.dispatched("a", 0.0)
    gate.failed("a", 3.0)
    assert gate.gone == ["b"]
    gate.failed("a", 3.0)
    gate.warmth.due(CAP_S)  # the old leader's time is not the new one's
    assert gate.gone == ["b"]
    gate.dispatched("b", 5.0)
    assert gate.warmth.next_deadline() == 5.0 + CAP_S
    gate.answered("b", 6.0)
    assert gate.gone == ["b", "c"]


def test_a_leader_that_leaves_before_its_dispatch_hands_over_too() -> None:
    gate = _three()
    gate.warmth.left(KEY, gate.tickets["a"])
    assert gate.gone == ["b"]


def test_who_gave_up_waiting_is_not_let_go() -> None:
    gate = _three()
    gate.warmth.left(KEY, gate.tickets["b"])
    gate.failed("a", 1.0)
    assert gate.gone == ["c"]
    gate.failed("c", 1.0)
    assert len(gate.warmth) == 0


def test_a_leader_sent_again_does_not_win_time() -> None:
    gate = _three()
    gate.dispatched("a", 0.0)
    gate.dispatched("a", 2.0)
    assert gate.warmth.next_deadline() == CAP_S


def test_a_thousand_leaders_may_fail_within_each_others_start() -> None:
    warmth = Warmth()
    started: list[int] = []
    tickets: list[Ticket] = []

    def start(number: int) -> None:
        started.append(number)
        warmth.failed(KEY, tickets[number], 0.0)

    for number in range(2000):
        tickets.append(Ticket(lambda number=number: start(number)))  # type: ignore[misc]
        warmth.ask(KEY, tickets[number], 0.0)
    warmth.failed(KEY, tickets[0], 0.0)
    assert started == list(range(1, 2000))
    assert len(warmth) == 0


def test_what_has_grown_cold_is_forgotten_and_the_rest_is_bounded() -> None:
    warmth = Warmth(most_warm=10)
    ticket = Ticket(lambda: None)
    for number in range(30):
        key = PrefixKey(b"%d" % number, "", "")
        assert warmth.ask(key, ticket, float(number)) is Go.NOW
        warmth.answered(key, ticket, float(number))
    assert len(warmth) == 10
    warmth.due(25.0 + WARM_S)
    assert len(warmth) == 4
    warmth.due(40.0 + WARM_S)
    assert len(warmth) == 0


def test_the_prefix_used_last_is_forgotten_last() -> None:
    warmth, ticket = Warmth(most_warm=2), Ticket(lambda: None)
    first, second, third = (PrefixKey(b"%d" % number, "", "") for number in range(3))
    for key in (first, second, first, third):
        warmth.answered(key, ticket, 0.0)
    assert [warmth.ask(first, ticket, 1.0) for _ in range(2)] == [Go.NOW, Go.NOW]
    assert [warmth.ask(second, ticket, 1.0) for _ in range(2)] == [Go.NOW, Go.WAIT]


class Call:
    def __init__(self, number: int) -> None:
        self.number = number
        self.state = "waits"
        self.ticket = Ticket(self.go)

    def go(self) -> None:
        assert self.state == "waits", "started twice, or after it gave up"
        self.state = "started"


class TheGate(RuleBasedStateMachine):
    """In virtual time, against what may be true of calls at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.warmth = Warmth()
        self.now = 0.0
        self.calls: list[Call] = []
        self.leader: Call | None = None
        self.sent_at: float | None = None
        self.warm_until = -1.0

    def _are(self, *states: str) -> list[Call]:
        return [call for call in self.calls if call.state in states]

    def _lead_next(self, waited: list[Call]) -> None:
        started = [call for call in waited if call.state == "started"]
        assert started == waited[:1]
        self.leader, self.sent_at = next(iter(started), None), None

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, CAP_S, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.warmth.due(self.now)

    @rule()
    def ask(self) -> None:
        call = Call(len(self.calls))
        self.calls.append(call)
        go = self.warmth.ask(KEY, call.ticket, self.now)
        is_warm = self.now < self.warm_until
        if go is Go.NOW:
            call.state = "started"
            capped = self.sent_at is not None and self.now >= self.sent_at + CAP_S
            assert is_warm or self.leader is None or capped
            if not is_warm and self.leader is None:
                self.leader, self.sent_at = call, None
        else:
            assert not is_warm
            assert self.leader is not None

    @precondition(lambda self: self._are("started"))
    @rule(data=st.data())
    def dispatched(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self._are("started")))
        call.state = "sent"
        if call is self.leader and self.sent_at is None:
            self.sent_at = self.now
        self.warmth.dispatched(KEY, call.ticket, self.now)

    @precondition(lambda self: self._are("sent"))
    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self._are("sent")))
        call.state = "answered"
        self.warmth.answered(KEY, call.ticket, self.now)
        self.warm_until = self.now + WARM_S
        self.leader = self.sent_at = None
        assert not self._are("waits")

    @precondition(lambda self: self._are("started", "sent", "waits"))
    @rule(data=st.data())
    def ends_without_an_answer(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self._are("started", "sent", "waits")))
        waited = [one for one in self._are("waits") if one is not call]
        was_sent, call.state = call.state == "sent", "over"
        if was_sent:
            self.warmth.failed(KEY, call.ticket, self.now)
        else:
            self.warmth.left(KEY, call.ticket)
        if call is self.leader:
            self._lead_next(waited)
        else:
            assert self._are("waits") == waited

    @invariant()
    def whoever_waits_has_a_leader_and_not_for_longer_than_the_cap(self) -> None:
        waiting = self._are("waits")
        assert self.warmth.waiting == len(waiting)
        if waiting:
            assert self.leader is not None
            assert self.leader.state in ("started", "sent")
            assert self.sent_at is None or self.now < self.sent_at + CAP_S
        deadline = self.warmth.next_deadline()
        assert deadline is None or deadline > self.now


TheGate.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_the_gate_agrees_with_its_rules = TheGate.TestCase
