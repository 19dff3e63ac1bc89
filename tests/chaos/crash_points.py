"""SIGKILL, EIO and ENOSPC at every system call by which a flow changes files; then what follows.

    python -m tests.chaos.crash_points [--flows claim,land] [--strikes kill,kill-first] [--jobs 2]

For each of the flows of `crash_flows`: from the same prepared repository the flow is run again and
again, and struck at its first such call, its second, and so on until it ends unharmed. `kill` is
for the process that makes the call, one of ours or a git's; `kill-first` is for ours while the git
it has started goes on; the errors are what the call returns. After each strike the next run goes on
and must keep every promise: each task lands once, the tree is that of an undisturbed run, nothing
is lost or left behind. A table tells; breaches are listed with the call they happened at.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.core.errors import Exit, FleetError
from tests.chaos.crash_flows import FLOWS, PERSON, Flow, Place, build, recover, tree
from tests.chaos.tracer import Call, Strike, Traced, trace, unavailable

FLOW_S, RECOVERY_S = 120.0, 240.0  # a machine may be busy
CLEAN, BROKEN = 0, 99  # codes of a flow; those of our errors are in between
KILLS = (Strike.CALLER, Strike.FIRST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One flow, struck once."""

    flow: str
    strike: str
    at: int
    call: str  # what was struck; "" when the flow ended before
    ended: str  # how the flow ended
    breaches: tuple[str, ...]
    person: bool = False  # somebody had to remove the lock of a git killed in the user's checkout


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One slot: a folder whose paths never change, and the flow's beginning kept beside it."""

    folder: Path
    flow: Flow

    @property
    def place(self) -> Place:
        return Place(root=self.folder / "place")

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    def prepare(self) -> str:
        """The beginning, and the tree it must lead to."""
        for folder in (self.place.root, self.kept):
            shutil.rmtree(folder, ignore_errors=True)
        said = _apart(lambda: build(self.flow, self.place), timeout_s=RECOVERY_S)
        assert said in (None, -signal.SIGKILL), said
        self.place.root.rename(self.kept)
        self.reset()
        wrong = self.recover()
        assert not wrong, f"{self.flow.name}, undisturbed: {wrong}"
        return tree(self.place)

    def reset(self) -> None:
        shutil.rmtree(self.place.root, ignore_errors=True)
        shutil.copytree(self.kept, self.place.root, symlinks=True)

    def run(self, strike: Strike | None, at: int) -> Traced:
        self.reset()
        return trace(
            lambda: _ending(lambda: self.flow.body(self.place)),
            beneath=str(self.place.root),
            strike=strike,
            at=at,
            timeout_s=FLOW_S,
        )

    def recover(self) -> list[str]:
        told = self.folder / "told"
        told.unlink(missing_ok=True)

        def body() -> None:
            told.write_text(json.dumps(recover(self.flow, self.place)))

        said = _apart(body, timeout_s=RECOVERY_S)
        if said is not None:
            return [f"the next run ended with {said}"]
        return list(json.loads(told.read_text()))


def _apart(body: Callable[[], None], *, timeout_s: float) -> int | None:
    """Run it in a process of its own; its exit code if that is not 0."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(timeout_s))
        code = BROKEN
        try:
            body()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) or None


def _ending(body: Callable[[], None]) -> int:
    try:
        body()
    except FleetError as error:
        return error.exit_code
    except OSError:
        return Exit.IO  # so do the programs' mains
    except BaseException:
        sys.stderr.write(traceback.format_exc())
        return BROKEN
    return CLEAN


def cases(bench: Bench, wanted: str, strike: Strike, points: Sequence[int]) -> Iterator[Case]:
    """The flow struck at each of these points."""
    for at in points:
        seen = bench.run(strike, at)
        if seen.struck is None:
            yield Case(flow=bench.flow.name, strike=strike, at=at, call="", ended="", breaches=())
            continue
        wrong = bench.recover()
        person = PERSON in wrong
        wrong = [breach for breach in wrong if breach != PERSON]
        if not wrong and tree(bench.place) != wanted:
            wrong = ["the tree is not that of an undisturbed run"]
        if strike not in KILLS and seen.code == BROKEN:
            wrong.append("the flow ended with an error that is none of ours")
        if seen.hung:
            wrong.append("the flow hung")
        yield Case(
            flow=bench.flow.name,
            strike=strike,
            at=at,
            call=_shown(seen.struck, bench.place),
            ended=str(seen.code),
            breaches=tuple(wrong),
            person=person,
        )


def _shown(call: Call, place: Place) -> str:
    who = "" if call.first else f"{call.program}: "
    return f"{who}{call.name} {call.path.removeprefix(str(place.root))}"


def points_of(bench: Bench, strike: Strike) -> list[int]:
    """Where this strike makes a difference, by an undisturbed run."""
    seen = bench.run(None, 0)
    assert seen.code == CLEAN, f"{bench.flow.name} ended with {seen.code}"
    numbered = enumerate(seen.calls, start=1)
    return [at for at, call in numbered if strike is not Strike.FIRST or not call.first]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which of a flow's points one process takes."""

    job: int
    jobs: int
    sample: int  # 0 is all
    seed: int
    part: str  # "1/4" is the second of four

    def of(self, points: Sequence[int]) -> list[int]:
        part, parts = map(int, self.part.split("/"))
        chosen = list(points[part::parts])
        if self.sample:
            chosen = random.Random(self.seed).sample(chosen, min(self.sample, len(chosen)))
        return sorted(chosen)[self.job :: self.jobs]

    @property
    def goes_beyond(self) -> bool:
        """Runs differ a little: one process looks for points after the last of the first run."""
        return not self.sample and self.job == 0 and self.part.startswith("0/")


def sweep(folder: Path, flow: Flow, strike: Strike, share: Share) -> Iterator[Case]:
    """Every point of a share."""
    bench = Bench(folder=folder, flow=flow)
    wanted = bench.prepare()
    points = points_of(bench, strike)
    yield from cases(bench, wanted, strike, share.of(points))
    at = points[-1] if points else 0
    while share.goes_beyond and strike is not Strike.FIRST:
        at += 1
        (case,) = cases(bench, wanted, strike, [at])
        if not case.call:
            return
        yield case


def table(found: Sequence[Case], lines: dict[tuple[str, str], float]) -> Iterator[str]:
    heads = ("points", "ended by it", "recovered", "breaches", "a person", "seconds")
    yield f"{'flow':9}{'strike':11}" + "".join(f"{head:>13}" for head in heads)
    for (flow, strike), seconds in lines.items():
        these = [case for case in found if (case.flow, case.strike) == (flow, strike) and case.call]
        good = sum(not case.breaches for case in these)
        numbers = (
            len(these),
            sum(case.ended != "0" for case in these),
            good,
            len(these) - good,
            sum(case.person for case in these),
            round(seconds),
        )
        yield f"{flow:9}{strike:11}" + "".join(f"{number:>13}" for number in numbers)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--flows", default=",".join(flow.name for flow in FLOWS))
    parser.add_argument("--strikes", default="kill,kill-first")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, default=0, help="points of each; 0 is all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="0/1", help="of all points: the second of four is 1/4")
    parser.add_argument("--calls", action="store_true", help="only count the calls by name")
    options = parser.parse_args()
    why = unavailable()
    if why:
        sys.stderr.write(f"{why}\n")
        return 2
    logging.disable()  # an attempt that is cut short is what we want
    found: list[Case] = []
    lines: dict[tuple[str, str], float] = {}
    flows = [flow for flow in FLOWS if flow.name in options.flows.split(",")]
    with tempfile.TemporaryDirectory(prefix="fleet-crash-", dir=_quick_folder()) as folder:
        for flow in flows:
            if options.calls:
                _count(Path(folder), flow)
                continue
            for strike in map(Strike, options.strikes.split(",")):
                began = time.monotonic()
                found += _in_parallel(Path(folder), flow, strike, options)
                lines[flow.name, strike] = time.monotonic() - began
                _tell(found, lines)
    sys.stdout.write("\n".join(table(found, lines)) + "\n")
    return 1 if any(case.breaches for case in found) else 0


def _tell(found: Sequence[Case], lines: dict[tuple[str, str], float]) -> None:
    """The newest line of the table, and what is behind it."""
    *_, line = table(found, lines)
    sys.stdout.write(f"{line}\n")
    for case in found:
        if (case.flow, case.strike) == list(lines)[-1]:
            for breach in case.breaches:
                sys.stdout.write(f"    {case.at}: {case.call}, ended {case.ended}: {breach}\n")
    sys.stdout.flush()


def _quick_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _count(folder: Path, flow: Flow) -> None:
    bench = Bench(folder=folder, flow=flow)
    bench.prepare()
    began = time.monotonic()
    seen = bench.run(None, 0)
    took = time.monotonic() - began
    names = Counter(call.name for call in seen.calls)
    ours = sum(call.first for call in seen.calls)
    sys.stdout.write(
        f"{flow.name}: {len(seen.calls)} calls, {ours} of them ours, in {took:.2f} s; "
        f"{dict(names.most_common())}\n"
    )


def _in_parallel(
    folder: Path, flow: Flow, strike: Strike, options: argparse.Namespace
) -> list[Case]:
    """A process a job, each with a folder of its own; what they found."""
    told = [folder / f"job-{job}" for job in range(options.jobs)]
    pids = []
    for job, bench in enumerate(told):
        bench.mkdir(exist_ok=True)
        share = Share(
            job=job, jobs=options.jobs, sample=options.sample, seed=options.seed, part=options.part
        )
        pid = os.fork()
        if pid == 0:
            code = BROKEN
            try:
                with (bench / "cases").open("w") as file:
                    for case in sweep(bench, flow, strike, share):
                        file.write(json.dumps(asdict(case)) + "\n")
                        file.flush()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        pids.append(pid)
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert status == 0, "a job broke down"
    read = (json.loads(line) for bench in told for line in (bench / "cases").open())
    return [Case(**{**one, "breaches": tuple(one["breaches"])}) for one in read]


if __name__ == "__main__":
    sys.exit(main())
