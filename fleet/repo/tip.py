"""The accepted tip: what new work starts from and lands on.

It is the user's branch, or `fleet/landed` while results wait there because the checkout is not
clean. When the two have diverged it is `fleet/landed`, which has all landed work; the lander
brings them together again.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.errors import FleetError
from fleet.repo.branch import Target
from fleet.repo.hub import Hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    commit: str
    users: str  # where the user's branch is
    landed: str | None  # where fleet/landed is, while results wait there


def accepted(target: Target, hub: Hub) -> Tip:
    """Read it, and make sure the hub has it."""
    users, landed = target.tips()
    if users is None:
        raise FleetError(
            f"branch {target.branch!r} has no commit: make a first commit on it, or name another "
            "branch as [fleet] target in fleet.toml"
        )
    _bring(target, hub, users)
    if landed is None:
        return Tip(commit=users, users=users, landed=None)
    _bring(target, hub, landed)
    if hub.is_ancestor(landed, users):
        return Tip(commit=users, users=users, landed=landed)
    return Tip(commit=landed, users=users, landed=landed)


def _bring(target: Target, hub: Hub, commit: str) -> None:
    if not hub.has(commit):
        hub.take(target.common_dir, commit)
