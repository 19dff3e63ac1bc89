"""Requests a second and what each costs, lane against lane: the measure both scripts share."""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from scripts.bench.rig import load, wrk
from scripts.bench.rig.processes import cpu
from scripts.bench.rig.report import Report, ms, ratios, spread
from scripts.bench.rig.setting import Rig
from scripts.bench.rig.target import Load, Target, Work

SMALL = 2000  # bytes of a body
GAP = 0.1  # seconds
Rounds = list[Work]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    rounds: int
    seconds: float
    own_load: bool
    connections: int = 32

    @property
    def by_wrk(self) -> bool:
        return wrk.available() and not self.own_load


def numbers() -> Iterator[int]:
    """Where the numbering of each load begins: no two loads of a run have a body in common."""
    return itertools.count(1_000_000, 1_000_000)


def in_turns(count: int, rounds: int) -> Iterator[int]:
    """A B C, B C A, …: who begins rotates."""
    for turn in range(rounds):
        yield from ((turn + place) % count for place in range(count))


def measure(rig: Rig, targets: Sequence[Target], plan: Plan, first: Iterator[int]) -> list[Rounds]:
    found: list[Rounds] = [[] for _ in targets]
    for target in targets:  # warm, and proven right by the load that looks at answers
        once = Load(size=SMALL, connections=4, seconds=1, first=next(first))
        warm = load.apart(load.requests, target, rig.upstream, once)
        if warm.bad or not warm.done:
            print(f"{target.name}: {warm.bad} bad of {warm.done} when warmed", file=sys.stderr)
    for at in in_turns(len(targets), plan.rounds):
        found[at].append(_once(rig, targets[at], plan, next(first), alike=False))
    return found


def alike(rig: Rig, target: Target, plan: Plan, first: Iterator[int]) -> tuple[Rounds, float]:
    """The same body again and again: also how many calls were made for each answer."""
    before = rig.upstream.count("calls")
    works = [_once(rig, target, plan, next(first), alike=True) for _ in range(plan.rounds)]
    return works, (rig.upstream.count("calls") - before) / sum(work.done for work in works)


def _once(rig: Rig, target: Target, plan: Plan, first: int, *, alike: bool) -> Work:
    one = Load(
        size=SMALL,
        connections=plan.connections,
        seconds=plan.seconds,
        first=first,
        alike=alike,
    )
    if plan.by_wrk:
        found = wrk.requests(target, rig.upstream, one, rig.folder)
    else:
        found = load.apart(load.requests, target, rig.upstream, one)
    _settle(target)
    return found


def _settle(target: Target) -> None:
    """What a slow gateway still does for a load that has ended must not cost the next lane."""
    until = time.monotonic() + 5
    used = GAP
    while used > GAP / 10 and time.monotonic() < until:
        before = cpu(target.pids)
        time.sleep(GAP)
        used = cpu(target.pids).since(before)


def show(
    report: Report, title: str, names: Sequence[str], found: Sequence[Rounds], bases: Sequence[str]
) -> None:
    """`bases` are the lanes the others are divided by."""
    by = {name: [work.rate for work in works] for name, works in zip(names, found, strict=True)}
    bases = [base for base in bases if base in by]
    columns = ["", "requests/s", *(f"× {base}" for base in bases)]
    columns += ["CPU µs each", "upstream", "load", "cores busy", "p50 ms", "p99 ms", "bad"]
    rows = []
    for name, works in zip(names, found, strict=True):
        row = [name, f"{statistics.median(by[name]):,.0f}"]
        row += [spread(ratios(by[name], by[base]), _digits(by[name], by[base])) for base in bases]
        row += [_cost([work.each(work.gateway) for work in works])]
        row += [_cost([work.each(work.upstream) for work in works])]
        row += [_cost([work.each(work.load) for work in works])]
        row += [" + ".join(_busy(works, who) for who in ("gateway", "upstream", "load"))]
        row += [ms(statistics.median(work.p50 for work in works))]
        row += [ms(statistics.median(work.p99 for work in works))]
        rows.append([*row, str(sum(work.bad for work in works))])
    report.table(title, columns, rows)
    report.keep(title, {n: list(map(asdict, w)) for n, w in zip(names, found, strict=True)})


def _digits(ours: Sequence[float], base: Sequence[float]) -> int:
    """Three that count."""
    ratio = statistics.median(ours) / statistics.median(base)
    return max(0, 2 - math.floor(math.log10(ratio))) if ratio < 1 else 2


def _cost(each: Sequence[float]) -> str:
    return f"{statistics.median(each):,.0f}" if any(each) else "-"


def _busy(works: Rounds, who: str) -> str:
    return f"{statistics.median(getattr(work, who) / work.seconds for work in works):.2f}"
