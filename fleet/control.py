"""What people order a running fleet to do: pause, resume, stop, scale.

Orders are rows in the ledger. Whoever works polls them; nobody listens on a socket. Retry and
cancel are orders about one task and are carried out by the roster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from fleet.core.event import Kind
from fleet.store.controls import Controls


class Stop(StrEnum):
    """How a fleet ends before its work does."""

    NO = ""
    DRAIN = "drain"  # no new claims; attempts in hand finish and land
    KILL = "kill"  # end agents and gates now, keep their work, give the attempts back


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    paused: str = ""  # the reason; "" is not paused
    until: float = 0.0  # POSIX s: not before, whoever says so; 0 is no such time
    until_why: str = ""
    no_room: str = ""  # on the disk, for anything new
    faulty: bool = False  # fleet itself paused: something must be mended first
    stop: Stop = Stop.NO
    agents: int | None = None  # workers with a higher number end after their attempt

    def may_claim(self, now: float) -> bool:
        return not self.paused and self.stop is Stop.NO and now >= self.until

    def waits(self, now: float) -> str:
        """Why nothing is claimed although nobody has paused anything; "" when that is not so."""
        return self.until_why if now < self.until else self.no_room


def read(controls: Controls) -> Orders:
    agents = controls.get("agents")
    fault = controls.get("fault")
    until, _, why = controls.get("until").partition(" ")
    return Orders(
        paused=fault or controls.get("paused"),
        until=float(until or 0.0),
        until_why=why,
        no_room=controls.get("no-room"),
        faulty=bool(fault),
        stop=Stop(controls.get("stop")),
        agents=int(agents) if agents else None,
    )


def pause(controls: Controls, reason: str, *, now: float) -> None:
    """A person wants no new claims for now."""
    controls.set("paused", reason or "paused", kind=Kind.PAUSED, now=now)


def fault(controls: Controls, reason: str, *, now: float) -> None:
    """Something is wrong with the fleet itself: stop claiming instead of burning tasks."""
    if controls.get("fault") != reason:
        controls.set("fault", reason, kind=Kind.PAUSED, now=now)


def pause_until(controls: Controls, until: float, reason: str, *, now: float) -> None:
    """No provider takes calls before. It ends by itself; a person's pause or stop outlives it."""
    if read(controls).until < until:
        told = f"until {clock(until)}: {reason}"
        controls.set("until", f"{until:.3f} {told}", kind=Kind.PAUSED, now=now, reason=told)


def tell_room(controls: Controls, lacking: str, *, now: float) -> None:
    """Claims are held back until there is room on the disk again, and then go on by themselves."""
    if bool(controls.get("no-room")) != bool(lacking):
        kind = Kind.PAUSED if lacking else Kind.RESUMED
        controls.set("no-room", lacking, kind=kind, now=now)


def clock(at: float) -> str:
    """A time to come, as people say it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def end_of_wait(controls: Controls, *, now: float) -> None:
    """The time has come, if it has: said once."""
    orders = read(controls)
    if orders.until and now >= orders.until:
        controls.set("until", "", kind=Kind.RESUMED, now=now)


def resume(controls: Controls, *, now: float) -> bool:
    """Claim again; False when nothing was paused."""
    orders = read(controls)
    if not orders.paused and not orders.waits(now):
        return False
    controls.set("fault", "")
    controls.set("until", "")
    controls.set("paused", "", kind=Kind.RESUMED, now=now)
    return True


def stop(controls: Controls, how: Stop, *, now: float) -> None:
    controls.set("stop", how, kind=Kind.STOPPING, now=now)


def finish(controls: Controls) -> None:
    """All work is done: workers may go. Nobody needs to be told."""
    controls.set("stop", Stop.DRAIN)


def begin(controls: Controls, *, agents: int) -> None:
    """A new run: forget the last one's stop and faults, keep a person's pause and a provider's."""
    for name in ("stop", "fault", "no-room"):
        if controls.get(name):
            controls.set(name, "")
    controls.set("agents", str(agents) if agents else "")
