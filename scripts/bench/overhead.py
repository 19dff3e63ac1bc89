"""What fleet itself costs a task, beside the bare git commands for the same work.

    .venv/bin/python scripts/bench/overhead.py [--tasks 40] [--files 400] [--commands]
        [--folder /dev/shm]

One process claims, makes a workspace, starts an agent that writes one file, harvests, merges,
submits and lands, task after task; the gate says yes at once. Two baselines in the same run, each
on a repository of its own: the git commands fleet runs, bare and in the same order, around the same
agent; and the least git that could do the work, without looking at anything first. Both ratios
matter: the first is what Python, the ledger and supervision cost, the second also what fleet's own
look-ups cost. The lanes take turns, and who begins rotates: on a disk each pays for what the one
before it left unwritten. `--folder` says where; without a disk in the way (tmpfs) the ratios are
steadier and higher. `--commands` lists what fleet ran, by verb. Asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleet.core.report import GateReport, Verdict
from fleet.gate.candidate import Candidate
from fleet.gate.cleanroom import Caller
from fleet.gate.proof import Gate
from fleet.landing.branch import Branch
from fleet.landing.lander import Lander
from fleet.process import command
from fleet.process.identity import myself
from fleet.process.stop import StopFlag
from fleet.process.tree import become_subreaper
from fleet.repo import git as git_module
from fleet.repo import harvest, merge
from fleet.wiring import Fleet, open_fleet
from fleet.worker.loop import Post, Worker
from fleet.worker.preflight import take_tasks

IDENTITY = ("-c", "user.name=b", "-c", "user.email=b@localhost")
RAN: defaultdict[str, list[float]] = defaultdict(list)  # seconds of each git command


class FreeGate(Gate):
    """A gate that costs nothing: what is measured is everything else."""

    def prove(
        self, candidates: Sequence[Candidate], *, extra: Sequence[str], by: Caller
    ) -> GateReport:
        top, base = candidates[-1].tree, candidates[0].base_tree
        self.reports.passed(top, base=base, now=time.time())
        return GateReport(verdict=Verdict.PASS)


def git(*words: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", *words], cwd=cwd, check=True, capture_output=True, text=True, env=env
    )
    return done.stdout.strip()


def make_repository(top: Path, files: int, tasks: int) -> None:
    (top / "tasks").mkdir(parents=True)
    (top / "agents").mkdir()
    (top / "agents" / "touch.toml").write_text('command = ["touch", "made-by-{task}.txt"]\n')
    entries = [f'[[tasks]]\nid = "t{n}"\nprompt = "touch"\n' for n in range(tasks)]
    (top / "tasks" / "t.toml").write_text("\n".join(entries))
    (top / "fleet.toml").write_text('[fleet]\nagent = "touch"\n[gate]\ncommands = ["true"]\n')
    for number in range(files):
        path = top / f"folder{number % 20}" / f"file{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"file {number}\n" * 20)
    git("init", "-q", "-b", "main", cwd=top)
    git("add", "-A", cwd=top)
    git(*IDENTITY, "commit", "-qm", "first", cwd=top)


def with_fleet(folder: Path, files: int, tasks: int) -> Iterator[float]:
    """Seconds of each task, one at a time: the lanes take turns, so that drift hits them alike."""
    top = folder / "ours"
    make_repository(top, files, tasks)
    fleet = open_fleet(top, {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")})
    take_tasks(fleet)
    gate = fleet.gate
    free = FreeGate(
        room=gate.room, reports=gate.reports, checks=gate.checks, environments=gate.environments
    )
    fleet.__dict__["gate"] = free
    with StopFlag() as stop:
        worker = Worker(fleet, Post(owner=myself("bench"), number=None), stop, random.Random(1))
        by = Caller(mark="bench/lander", stopped=lambda: None)
        lander = Lander(fleet, Branch(fleet, by), by, random.Random(1))
        lander.turn()
        for _ in range(tasks):
            yield _one(worker, lander)
    _check(fleet, tasks)
    fleet.close()


def _one(worker: Worker, lander: Lander) -> float:
    began = time.perf_counter()
    taken = worker.claim()
    assert taken is not None
    worker.work(taken)
    lander.turn()
    return time.perf_counter() - began


def _check(fleet: Fleet, tasks: int) -> None:
    counts = fleet.roster.counts()
    assert counts.merged == tasks, counts


def with_git(folder: Path, files: int, tasks: int, *, same: bool) -> Iterator[float]:
    """The same work by hand: clone, agent, commit, merge, land."""
    top, hub = folder / f"bare-{same}", folder / f"hub-{same}.git"
    make_repository(top, files, tasks)
    git("clone", "-q", "--bare", "--no-local", str(top), str(hub), cwd=folder)
    for number in range(tasks):
        yield _by_hand(folder / f"w-{same}-{number}", hub, top, number, same=same)


def _by_hand(at: Path, hub: Path, top: Path, number: int, *, same: bool) -> float:
    began = time.perf_counter()

    def also(*words: str, cwd: Path) -> None:
        """What fleet looks at besides."""
        if same:
            git(*words, cwd=cwd)

    base = git("rev-parse", "refs/heads/main", cwd=top)
    also("cat-file", "-e", base, cwd=hub)
    at.mkdir()
    git("init", "-q", "--template=", cwd=at)
    (at / ".git/objects/info").mkdir(exist_ok=True)
    (at / ".git/objects/info/alternates").write_text(f"{hub}/objects\n")
    git("update-ref", "refs/heads/work", base, cwd=at)
    git("symbolic-ref", "HEAD", "refs/heads/work", cwd=at)
    git("read-tree", "-m", "-u", "HEAD", cwd=at)
    subprocess.run(["touch", f"made-by-t{number}.txt"], cwd=at, check=True)
    env = {**os.environ, "GIT_DIR": str(hub), "GIT_WORK_TREE": str(at)}
    env |= {"GIT_INDEX_FILE": str(at / ".git/index")}
    git("add", "-A", cwd=at, env=env)
    tree = git("write-tree", cwd=at, env=env)
    head = git(*IDENTITY, "commit-tree", tree, "-p", base, "-m", "work", cwd=hub)
    git("update-ref", f"refs/attempts/{number}", head, cwd=hub)
    also("for-each-ref", "refs/heads", cwd=top)
    merged = git("merge-tree", "--write-tree", base, head, cwd=hub)
    git("diff-tree", "-r", base, merged, cwd=hub)
    also("rev-parse", f"{base}^{{tree}}", cwd=hub)
    also("cat-file", "-s", merged, cwd=hub)
    also("ls-tree", "-r", base, cwd=hub)
    landed = git(*IDENTITY, "commit-tree", merged, "-p", base, "-p", head, "-m", "land", cwd=hub)
    git("update-ref", "refs/heads/main", landed, cwd=hub)
    also("for-each-ref", "refs/heads", cwd=top)
    also("rev-parse", "refs/heads/main", cwd=hub)
    git("fetch", "-q", str(hub), f"+{landed}:refs/incoming", cwd=top)
    also("rev-parse", "refs/heads/main", cwd=top)
    also("worktree", "list", "--porcelain", cwd=top)
    also("rev-parse", "--git-dir", cwd=top)
    also("update-index", "-q", "--refresh", cwd=top)
    also("diff-tree", "-r", base, landed, cwd=top)
    also("read-tree", "-m", "-u", "--dry-run", base, landed, cwd=top)
    git("status", "--porcelain", "--untracked-files=no", cwd=top)
    git("update-ref", "refs/heads/main", landed, base, cwd=top)
    also("update-index", "-q", "--refresh", cwd=top)
    git("read-tree", "-m", "-u", base, landed, cwd=top)
    shutil.rmtree(at)
    return time.perf_counter() - began


def _in_turns(lanes: Sequence[Iterator[float]], rounds: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in lanes]
    for number in range(rounds):
        for place in range(len(lanes)):
            lane = (number + place) % len(lanes)
            times[lane].append(next(lanes[lane]))
    for lane_ in lanes:
        assert next(lane_, None) is None  # lets it check and close what it has
    return times


def _count_commands() -> None:
    """Note every git command that fleet runs from here on."""
    plain = command.run

    def noted(argv: Sequence[str], **options: object) -> command.Done:
        verb = next((w for w in argv[1:] if not w.startswith("-") and "=" not in w), "")
        done = plain(argv, **options)  # type: ignore[arg-type]
        RAN[verb].append(done.seconds)
        return done

    for module in (git_module, harvest, merge):
        if hasattr(module, "run"):
            module.run = noted  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--commands", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to make the repositories")
    options = parser.parse_args()
    become_subreaper()
    if options.commands:
        _count_commands()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir=options.folder) as name:
        folder, size = Path(name), (options.files, options.tasks)
        lanes = (
            with_git(folder, *size, same=False),
            with_git(folder, *size, same=True),
            with_fleet(folder, *size),
        )
        times = _in_turns(lanes, options.tasks)
    least, same, ours = (statistics.median(lane) for lane in times)
    print(f"load {os.getloadavg()[0]:.1f}, {options.files} files, medians of {options.tasks} tasks")
    for title, middle in (("least git", least), ("same git", same), ("fleet", ours)):
        print(f"  {title:9} {middle * 1000:6.1f} ms  "
              f"{middle / same:.2f} x same, {middle / least:.2f} x least")  # fmt: skip
    for verb, taken in sorted(RAN.items(), key=lambda item: -sum(item[1])):
        number, took = len(taken) / options.tasks, sum(taken) / options.tasks * 1000
        print(f"    {number:5.2f} x, {took:6.2f} ms a task  git {verb}")


if __name__ == "__main__":
    main()
