"""What all connections of a server share: its rules, its counts, and whom requests go to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fleet.proxy.http.exchange import Exchange
from fleet.proxy.http.heads import Names, Refusal
from fleet.proxy.http.limits import Limits
from fleet.proxy.wire import Reply


class Swept(Protocol):
    def check(self, now: float) -> None: ...
    def retire(self) -> None: ...
    def kill(self) -> None: ...


@dataclass(slots=True)
class Front:
    loop: asyncio.AbstractEventLoop
    accept: Callable[[Exchange], None]
    refuse: Callable[[Refusal], Reply]
    limits: Limits
    names: Names
    connections: set[Swept] = field(default_factory=set)
    held: int = 0  # bytes of bodies whose requests are not answered
    draining: bool = False
    empty: asyncio.Event = field(default_factory=asyncio.Event)  # set while there are none
