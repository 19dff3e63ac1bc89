from __future__ import annotations

import pytest

from tests.chaos.claim_sim import LEDGERS, judge
from tests.chaos.history import NEVER, Asked, Operation, Stands, disordered

CLAIM, SUBMIT, END, LAND, LOOK = Asked


def one(
    asked: Asked,
    epoch: int,
    at: float,
    answered: float,
    agreed: bool | None = True,
    stands: Stands | None = None,
) -> Operation:
    return Operation(
        task="t",
        asked=asked,
        epoch=epoch,
        at=at,
        answered=answered,
        agreed=agreed,
        stands=stands,
    )


GOOD: dict[str, list[Operation]] = {
    "one after the other": [one(CLAIM, 1, 0, 1), one(SUBMIT, 1, 2, 3), one(LAND, 1, 4, 5)],
    "given back and claimed again": [one(CLAIM, 1, 0, 1), one(END, 1, 2, 3), one(CLAIM, 2, 4, 5)],
    "the stale one is refused": [
        one(CLAIM, 1, 0, 1),
        one(END, 1, 2, 3),
        one(CLAIM, 2, 4, 5),
        one(SUBMIT, 1, 6, 7, agreed=False),
        one(SUBMIT, 2, 8, 9),
    ],
    "answered late, done early": [one(CLAIM, 1, 0, 9), one(END, 1, 2, 3), one(CLAIM, 2, 4, 5)],
    "killed, and it was done": [one(CLAIM, 1, 0, NEVER, None), one(END, 1, 2, 3)],
    "killed, and it was not": [one(CLAIM, 1, 0, NEVER, None), one(CLAIM, 1, 2, 3)],
    "of two at once the later wins": [
        one(CLAIM, 1, 0, 1),
        one(SUBMIT, 1, 2, 8, agreed=False),
        one(END, 1, 3, 9),
    ],
    "as it stands": [
        one(CLAIM, 1, 0, 1),
        one(SUBMIT, 1, 2, NEVER, None),
        one(LOOK, 1, 9, 9, stands=Stands.SUBMITTED),
    ],
}
BAD: dict[str, list[Operation]] = {
    "one epoch twice": [one(CLAIM, 1, 0, 1), one(END, 1, 2, 3), one(CLAIM, 1, 4, 5)],
    "an epoch left out": [one(CLAIM, 2, 0, 1)],
    "claimed while held": [one(CLAIM, 1, 0, 1), one(CLAIM, 2, 2, 3)],
    "accepted though stale": [
        one(CLAIM, 1, 0, 1),
        one(END, 1, 2, 3),
        one(CLAIM, 2, 4, 5),
        one(SUBMIT, 1, 6, 7),
    ],
    "accepted twice": [one(CLAIM, 1, 0, 1), one(SUBMIT, 1, 2, 3), one(SUBMIT, 1, 4, 5)],
    "landed twice": [
        one(CLAIM, 1, 0, 1),
        one(SUBMIT, 1, 2, 3),
        one(LAND, 1, 4, 5),
        one(LAND, 1, 6, 7),
    ],
    "accepted and lost": [
        one(CLAIM, 1, 0, 1),
        one(SUBMIT, 1, 2, 3),
        one(LOOK, 1, 9, 9, stands=Stands.HELD),
    ],
    "refused for no reason": [one(CLAIM, 1, 0, 1), one(SUBMIT, 1, 2, 3, agreed=False)],
    "done before it was asked": [one(CLAIM, 1, 4, 5), one(SUBMIT, 1, 0, 1)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_one_ledger_could_have_said_is_in_order(name: str) -> None:
    assert disordered(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_none_could_have_said_is_not(name: str) -> None:
    assert disordered(BAD[name]) == ["t"]


def test_tasks_do_not_matter_to_each_other() -> None:
    other = [
        Operation(task="u", asked=CLAIM, epoch=1, at=0, answered=1, agreed=True),
        *BAD["one epoch twice"],
    ]
    assert disordered(other) == ["t"]


@pytest.mark.parametrize("name", LEDGERS)
def test_a_ledger_with_a_bug_is_found_out_and_ours_is_not(name: str) -> None:
    found = judge(name, rounds=50, seed=2)
    assert found.operations > 800
    assert (found.disordered == 0) == (name == "as it is"), found


@pytest.mark.long
@pytest.mark.parametrize("name", LEDGERS)
def test_it_is_so_in_thousands_of_races(name: str) -> None:
    found = judge(name, rounds=5000, seed=3)
    assert (found.disordered == 0) == (name == "as it is"), found
