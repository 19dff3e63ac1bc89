from __future__ import annotations

import pytest

from tests.chaos.claim_sim import LEDGERS
from tests.chaos.ledger_machine import LedgerMachine, run


def test_whatever_happens_the_ledger_does_what_its_model_says() -> None:
    run(runs=25, steps=40)


@pytest.mark.parametrize("name", [name for name in LEDGERS if name != "as it is"])
def test_a_ledger_with_a_bug_does_not(name: str) -> None:
    class Wrong(LedgerMachine):
        kind = LEDGERS[name]

    with pytest.raises(Exception) as found:
        run(runs=200, steps=40, machine=Wrong)
    assert found.type is not TimeoutError


@pytest.mark.long
def test_two_thousand_runs() -> None:
    run(runs=2000, steps=50)
