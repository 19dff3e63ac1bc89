from __future__ import annotations

from dataclasses import dataclass, field

from fleet.proxy.remote import Slotted
from fleet.proxy.wire import Failure, Fault, Headers, Outgoing, Sending
from tests.proxy.outlets import JSON, Provider

CALL = Outgoing("POST", "/v1/messages", (), b"{}")


@dataclass
class Taker:
    """A sink that remembers, and may ask again at once when it is done."""

    said: list[str] = field(default_factory=list)

    def head(self, status: int, headers: Headers) -> None:
        self.said.append(f"head {status}")

    def data(self, data: bytes) -> None:
        self.said.append(data.decode())

    def end(self) -> None:
        self.said.append("end")

    def failed(self, failure: Failure) -> None:
        self.said.append(f"failed {failure.fault}")


def start(slotted: Slotted, number: int) -> list[tuple[Taker, Sending]]:
    takers = [Taker() for _ in range(number)]
    return [(taker, slotted.send(CALL, taker)) for taker in takers]


def test_no_more_calls_than_slots_and_the_rest_in_order() -> None:
    provider = Provider()
    slotted = Slotted(provider, 2)
    takers = start(slotted, 5)
    assert (len(provider.calls), slotted.waiting) == (2, 3)
    provider.calls[0].sink.head(200, JSON)
    provider.calls[0].sink.data(b"x")
    provider.calls[0].sink.end()
    assert takers[0][0].said == ["head 200", "x", "end"]
    assert (len(provider.calls), slotted.waiting) == (3, 2)
    provider.calls[1].sink.failed(Failure(Fault.RESET))
    assert takers[1][0].said == ["failed reset"]
    for call in provider.calls[2:]:
        call.sink.end()
    provider.calls[-1].sink.end()
    assert len(provider.calls) == 5
    assert [taker.said for taker, _ in takers[2:]] == [["end"]] * 3


def test_a_cancelled_call_gives_its_slot_to_the_next_and_one_in_line_never_goes() -> None:
    provider = Provider()
    slotted = Slotted(provider, 1)
    takers = start(slotted, 3)
    takers[1][1].cancel()
    assert slotted.waiting == 1
    takers[0][1].cancel()
    assert provider.calls[0].cancelled
    assert (len(provider.calls), slotted.waiting) == (2, 0)
    takers[0][1].cancel()  # once is enough: no slot is given back twice
    assert len(provider.calls) == 2
    assert takers[0][0].said == takers[1][0].said == []


def test_more_slots_let_more_go() -> None:
    provider = Provider()
    slotted = Slotted(provider, 1)
    start(slotted, 4)
    slotted.grow(3)
    assert (len(provider.calls), slotted.waiting) == (3, 1)


def test_pausing_reaches_the_call_once_it_is_on_its_way() -> None:
    provider = Provider()
    slotted = Slotted(provider, 1)
    first, second = start(slotted, 2)
    second[1].pause()  # still in line: nothing to hold up
    first[1].pause()
    assert provider.calls[0].paused
    first[1].resume()
    assert not provider.calls[0].paused
