"""What a soak came to: its figures, and everything that was not as it must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from tests.chaos.proxy_clients import Kind
from tests.chaos.proxy_crowd import Crowd
from tests.chaos.proxy_plays import Plays

MB = 1 << 20
MORE_MEMORY = 12 * MB  # than after the warm-up, and
MORE_FILES = 2  # than before it, may be taken at the end


@dataclass(frozen=True, slots=True)
class Sample:
    """Of a proxy that nobody asks anything."""

    resident: int = 0
    files: int = 0
    busy: str = ""  # what it has not let go of

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> Self:
        kept = ("flights", "held_calls")
        busy = [
            f"{name}={value:g}"
            for name, value in metrics.items()
            if value and (name.startswith(("room_occupancy ", "room_waiting ")) or name in kept)
        ]
        return cls(int(metrics["resident_bytes"]), int(metrics["open_files"]), " ".join(busy))


@dataclass
class Report:
    rate: float = 0.0
    start: Sample = field(default_factory=Sample)  # after the warm-up
    end: Sample = field(default_factory=Sample)
    calls: tuple[int, int] = (0, 0)  # counted, rows
    served: tuple[int, int] = (0, 0)
    kills: int = 0
    complete_before_kill: int = 0
    tries: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    dedups: Counter[str] = field(default_factory=Counter)
    plays: Counter[str] = field(default_factory=Counter)
    p50: float = 0.0
    p99: float = 0.0
    faults: list[str] = field(default_factory=list)

    def check(self, good: bool, what: str) -> None:
        if not good:
            self.faults.append(what)

    def check_places(self, before: Sample) -> None:
        for sample in (self.start, self.end):
            self.check(not sample.busy, f"not let go: {sample.busy}")
            more = sample.files - before.files
            self.check(more <= MORE_FILES, f"{more} descriptors more than at the beginning")
        grown = self.end.resident - self.start.resident
        self.check(grown <= MORE_MEMORY, f"{grown / MB:.1f} MB more than after the warm-up")

    def take(self, crowd: Crowd, plays: Plays) -> None:
        self.tries, self.kinds, self.dedups = crowd.tries, crowd.kinds, crowd.dedups
        self.plays = plays.seen
        took = sorted(crowd.seconds)
        if took:
            self.p50, self.p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        for kind in (Kind.WRONG, Kind.HANG):
            self.check(not self.kinds[kind], f"{self.kinds[kind]} × {kind}")
        self.faults += crowd.wrong

    def table(self) -> str:
        return "".join(f"{name:<12}{said}\n" for name, said in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "requests", f"{self.tries:,} at {self.rate:,.0f}/s"
        yield "outcomes", _counts(self.kinds, self.tries)
        yield "dedup", _counts(self.dedups)
        yield "provider", _counts(self.plays)
        yield "mismatches", f"{self.kinds[Kind.WRONG]} wrong, {self.kinds[Kind.HANG]} hanging"
        yield "ledger", f"{self.served[1]:,} rows of {self.served[0]:,} requests"
        yield "", f"{self.calls[1]:,} rows of {self.calls[0]:,} calls"
        yield "memory", f"{self.start.resident / MB:.1f} MB → {self.end.resident / MB:.1f} MB"
        yield "descriptors", f"{self.start.files} → {self.end.files}"
        yield "answers", f"p50 {self.p50 * 1e3:.1f} ms, p99 {self.p99 * 1e3:.1f} ms"
        yield "kills", str(self.kills)
        for fault in self.faults:
            yield "FAULT", fault


def _counts(found: Counter[str] | Counter[Kind], whole: int = 0) -> str:
    """With their shares of the whole, if there is one."""
    told = [(str(name), number) for name, number in found.most_common()]
    if whole:
        return ", ".join(f"{name} {number:,} ({number / whole:.1%})" for name, number in told)
    return ", ".join(f"{name} {number:,}" for name, number in told)
