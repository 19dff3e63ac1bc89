"""Every bound of the HTTP engine, in bytes and seconds.

Times are checked by one sweep over all connections every `tick_s`, so they are that coarse.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the server takes from a client."""

    head: int = 64 << 10
    headers: int = 100
    target: int = 8 << 10
    body: int = 32 << 20
    bodies: int = 256 << 20  # of all requests that are not answered yet
    connections: int = 1024
    pipelined: int = 64 << 10  # read ahead while an answer is being made; then reading stops
    high_water: int = 64 << 10  # of answers not yet taken by the client: not writable
    low_water: int = 16 << 10  # writable again

    head_s: float = 10  # from its first byte to its last
    body_idle_s: float = 30  # without a byte
    body_grace_s: float = 10  # before `body_rate` counts
    body_rate: int = 1024  # bytes a second, on the whole
    keep_alive_s: float = 75  # longer than clients keep theirs (60 s), so they close first
    write_stall_s: float = 120  # a client that takes nothing
    linger_s: float = 2  # for a refused client to read why, while it still sends
    tick_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What the client keeps open, and takes of a head."""

    per_origin: int = 1024  # connections; further calls wait in line
    idle_s: float = 60
    head: int = 64 << 10
    tick_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long one call may take. `first_byte` counts from when the request has been sent."""

    connect: float = 10
    first_byte: float = 600
    idle: float = 120
    total: float = 3600
