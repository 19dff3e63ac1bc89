"""Results that wait on fleet/landed because a checkout has changes of its own."""

from __future__ import annotations

from fleet import control
from fleet.gate.cleanroom import Caller
from fleet.landing.branch import Branch
from fleet.store.claims import hold
from fleet.wiring import Fleet


def publish(fleet: Fleet) -> str:
    """Bring the branch up to what waits, if its checkout is clean by now and no lander lives.
    Why only a person can go on, or ""."""
    lock = hold(fleet.layout.lander_lock, timeout_s=1.0)
    if lock is None:
        return ""
    with lock:
        control.begin(fleet.controls, agents=0)  # what an earlier run gave up on may be mended
        by = Caller(mark=fleet.layout.mark("publish", 0), stopped=lambda: None)
        branch = Branch(fleet, by)
        tip = branch.look()
        if tip is not None:
            branch.publish(tip)
    orders = control.read(fleet.controls)
    return orders.paused if orders.faulty else ""


def waiting(fleet: Fleet) -> str:
    """What to do about results that wait; "" when none do."""
    landed = fleet.target.landed()
    if landed is None:
        return ""
    lock = fleet.target.in_the_way()
    if lock:
        return f"results wait on fleet/landed ({landed[:10]}): {lock}"
    return (
        f"results wait on fleet/landed ({landed[:10]}): your checkout of {fleet.target.branch} has "
        "changes of its own. Commit or stash them and run fleet again, or `git merge --ff-only "
        "fleet/landed`"
    )
