"""What a load is sent to, and what it is found to have done."""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

from scripts.bench.rig.bodies import VERSION, Api, Template, template
from scripts.bench.rig.processes import Clock, cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One way to the upstream. `pids` are the roots of the gateway's processes: none if direct."""

    name: str
    port: int
    pids: tuple[int, ...] = ()
    prefix: str = ""  # before the path of the API
    headers: tuple[tuple[str, str], ...] = ()
    api: Api = Api.MESSAGES
    streams: bool = True

    def template(self, size: int, *, stream: bool = False) -> Template:
        headers = dict([VERSION] if self.api is Api.MESSAGES else [])
        headers |= {"authorization": "Bearer sk-bench", **dict(self.headers)}
        path = self.prefix + self.api.path
        return template(self.api, size, path=path, headers=headers, stream=stream)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The mock, from outside."""

    port: int
    pid: int

    def pace(self, *, rate: float = 30, events: int = 300, delay: float = 0) -> None:
        self._ask(f"pace?rate={rate}&events={events}&delay={delay}", b"")

    def count(self, what: str) -> int:
        return int(self._ask("counts")[what])

    def _ask(self, what: str, data: bytes | None = None) -> dict[str, int]:
        url = f"http://127.0.0.1:{self.port}/bench/{what}"
        with urllib.request.urlopen(url, data=data, timeout=10) as answer:
            told: dict[str, int] = json.load(answer)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    size: int  # bytes of a body
    connections: int
    seconds: float
    first: int  # number of the first request, which the run has for itself with those after it
    alike: bool = False  # all requests have the same number

    @property
    def step(self) -> int:
        return 0 if self.alike else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A stretch of load: how much came back, and what it cost each of the three."""

    done: int  # answers, or events
    seconds: float
    bad: int  # wrong, cut, refused, or someone else's
    gateway: float  # CPU seconds
    upstream: float
    load: float
    p50: float  # seconds
    p99: float

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    def each(self, seconds: float) -> float:
        """Microseconds of CPU for each answer or event."""
        return seconds / self.done * 1e6 if self.done else math.nan


@dataclass(slots=True)
class Meters:
    """The CPU of a gateway and the upstream, from one moment to another."""

    target: Target
    upstream: Upstream
    _gateway: Clock = field(init=False)
    _mock: Clock = field(init=False)

    def begin(self) -> None:
        self._gateway, self._mock = cpu(self.target.pids), cpu([self.upstream.pid])

    def end(self) -> tuple[float, float]:
        gateway = cpu(self.target.pids).since(self._gateway)
        return gateway, cpu([self.upstream.pid]).since(self._mock)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else math.nan
