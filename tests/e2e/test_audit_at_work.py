"""The audit beside a fleet that is at work: it sees no breach where there is only motion."""

from __future__ import annotations

from fleet.landing.audit import audit
from fleet.store.claims import is_held
from fleet.wiring import open_fleet
from tests.e2e.conftest import Repository, writes
from tests.e2e.test_supervision import until

KEY = "sk-ant-of-nobody-0123456789"


def test_nothing_is_flagged_while_attempts_start_land_fail_and_end(repository: Repository) -> None:
    repository.tasks(
        *({"id": f"t{n}", "prompt": writes(f"t{n}.txt", "fine")} for n in range(4)),
        {"id": "bad", "prompt": writes("bad.txt", "bad"), "max_attempts": 2},
        {"id": "clash", "prompt": "@append base.txt\nmore\n@end"},
    )
    fleet = open_fleet(repository.path, {**repository.env, "ANTHROPIC_API_KEY": KEY})
    run = repository.start("run")
    until(lambda: is_held(fleet.layout.coordinator_lock) or run.poll() is not None)
    looks = 0
    while run.poll() is None:
        assert audit(fleet) == []
        looks += 1
    run.communicate(timeout=60)
    assert looks > 3
    assert audit(fleet) == []
    fleet.close()
