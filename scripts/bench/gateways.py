"""Requests a second, delay and CPU of other model gateways, beside fleet in the same run.

    PYTHONPATH=. .venv/bin/python scripts/bench/gateways.py [--install] [--quick] [--rounds 3]
        [--lanes direct,nginx,envoy,fleet,litellm,portkey,mlflow] [--json FILE] [--peers-dir DIR]

LiteLLM and MLflow come from PyPI, Portkey from npm, each into a folder of its own in --peers-dir:
only with --install, which takes minutes and 2 GB. All start offline with one worker and the same
upstream, and are asked in Messages and in Chat Completions, where they speak it, by bodies of
2 KB of which no two are equal. A gateway that cannot be installed or started is named with the
reason, and has no figures. Lanes take turns; ratios are taken within a round. Asserts nothing.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.bench.rig import load, processes, rates, wrk
from scripts.bench.rig.lanes import LANES, both
from scripts.bench.rig.peers import PEERS
from scripts.bench.rig.report import Report, ms, options, ratios, spread, stop_on_term
from scripts.bench.rig.setting import Lane, Rig, a_rig, started
from scripts.bench.rig.target import Target, percentile

ALL: dict[str, Lane] = {
    "direct": LANES["direct"],
    "nginx": LANES["nginx"],
    "envoy": LANES["envoy"],
    "fleet": both(LANES["fleet"]),
    **PEERS,
}


def throughput(
    report: Report, rig: Rig, targets: Sequence[Target], plan: rates.Plan, first: Iterator[int]
) -> None:
    found = rates.measure(rig, targets, plan, first)
    names = [target.name for target in targets]
    rates.show(report, "JSON, 2 KB → 1 KB, 32 connections", names, found, ("direct",))
    by = {name: [work.rate for work in works] for name, works in zip(names, found, strict=True)}
    ours = [target for target in targets if target.name.startswith("fleet")]
    rows = []
    for name in (name for name in names if not name.startswith("fleet")):
        cells = [spread(ratios(by[one.name], by[name]), 1) for one in ours]
        rows.append([name, *cells])
    if ours:
        columns = ["", *(target.name for target in ours)]
        report.table("fleet's requests/s, as a multiple of theirs", columns, rows)


def alone(
    report: Report, rig: Rig, targets: Sequence[Target], blocks: int, first: Iterator[int]
) -> None:
    """One request at a time, all lanes by turns of ten."""
    found = load.apart(load.latencies, targets, rates.SMALL, blocks, 10, next(first))
    rows, kept = [], {}
    for target, (times, bad) in zip(targets, found, strict=True):
        shares = {f"p{share * 100:.0f}": percentile(times, share) for share in (0.5, 0.9, 0.99)}
        rows.append([target.name, *(ms(value) for value in shares.values()), str(bad)])
        kept[target.name] = {**shares, "mean": statistics.fmean(times), "bad": bad}
    title = f"One connection, {blocks * 10} requests each: ms"
    report.table(title, ["", "p50", "p90", "p99", "bad"], rows)
    report.keep(title, kept)


def memory(report: Report, targets: Sequence[Target]) -> None:
    rows, seen = [], set()
    for target in targets:
        if target.pids and target.pids not in seen:
            seen.add(target.pids)
            found = processes.memory(target.pids)
            rows.append([target.name.partition(",")[0], f"{found.rss:.0f}", f"{found.pss:.0f}"])
    report.table("MiB after all that", ["", "RSS", "PSS"], rows)


def _options() -> Namespace:
    parser = options("Other model gateways, beside fleet in the same run.")
    parser.add_argument("--install", action="store_true", help="what is missing, from registries")
    found = parser.parse_args()
    unknown = {*(found.lanes or ALL)} - {*ALL}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return found


def main() -> None:
    chosen = _options()
    stop_on_term()
    report, first = Report(), rates.numbers()
    lanes = {name: lane for name, lane in ALL.items() if name in (chosen.lanes or ALL)}
    by = "wrk" if wrk.available() and not chosen.own_load else "the rig's own client"
    print(f"load {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores; rates by {by}")
    with (
        tempfile.TemporaryDirectory(prefix="fleet-bench-") as name,
        a_rig(Path(name), chosen.peers_dir, install=chosen.install) as rig,
    ):
        targets, absent = started(lanes, rig)
        report.absent(absent)
        plan = rates.Plan(
            rounds=chosen.rounds or (1 if chosen.quick else 3),
            seconds=2 if chosen.quick else 6,
            own_load=chosen.own_load,
        )
        print("measuring…", file=sys.stderr, flush=True)
        throughput(report, rig, targets, plan, first)
        alone(report, rig, targets, 3 if chosen.quick else 20, first)
        memory(report, targets)
    report.write(chosen.json)


if __name__ == "__main__":
    main()
