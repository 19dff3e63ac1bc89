"""Eight attempts at a time and a lander, on one hub and one repository, killed all the time.

    python -m tests.chaos.git_races [--operations 1000] [--kills 200] [--seed 1] [--gc]

Each worker makes workspaces, commits in them as an agent does, and harvests; the lander merges,
commits, and moves the branch with its checkout. Half of the kills take a process alone, and the git
it has started goes on; the other half takes both, and git leaves its locks. A newcomer first saves
what its predecessor left, as fleet does. A person removes a lock in the user's repository once
fleet has named it for some seconds; with `--gc` that person also prunes both in a loop.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.process import table
from tests.chaos.git_workers import LANDER, Yard, be_lander, be_worker
from tests.repo.scene import a_scene, git

KILL_EVERY_S = 0.15
PATIENCE_S = 3.0  # of the person who removes a lock
GIVE_UP_S = 1200.0
COLLECT = (("gc", "--quiet", "--prune=now"), ("prune", "--expire=now"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    seed: int
    seconds: float
    operations: int
    kills: int
    kills_with_git: int
    locks_removed_by_a_person: int
    collected: int
    made: int  # commits of agents
    landed: int
    failures: tuple[str, ...]  # of an operation, for a lock or anything else
    lost: int  # A5: commits of agents under no ref of the hub
    not_landed: int
    unclean: tuple[str, ...]  # fsck, status, locks left in the hub

    @property
    def holds(self) -> bool:
        return not (self.failures or self.lost or self.not_landed or self.unclean)


class Races:
    def __init__(self, folder: Path, workers: int, seed: int, *, gc: bool) -> None:
        self.yard = Yard(folder=folder, scene=a_scene(folder))
        self._slots = (*range(workers), LANDER)
        self._rng = random.Random(seed)
        self._gc = gc
        self._alive: dict[int, int] = {}  # pid -> slot
        self._collector: subprocess.Popen[bytes] | None = None
        self._stuck: tuple[str, float] = ("", 0.0)
        self.kills = self.kills_with_git = self.removed = self.collected = 0

    def run(self, operations: int, kills: int) -> None:
        """Until there have been enough of both; then everybody finishes in peace."""
        began = time.monotonic()
        for slot in self._slots:
            self._spawn(slot)
        try:
            while self.kills < kills or self.yard.log.count() < operations:
                assert time.monotonic() - began < GIVE_UP_S, "the races never end"
                time.sleep(KILL_EVERY_S * self._rng.uniform(0.5, 1.5))
                self._kill()
                self._look_after()
            self.yard.closing.touch()
            while self._alive:
                assert time.monotonic() - began < GIVE_UP_S, "the races never end"
                time.sleep(0.05)
                self._look_after()
        finally:
            for pid in self._alive:
                os.kill(pid, signal.SIGKILL)
            if self._collector is not None:
                self._collector.wait()

    def _look_after(self) -> None:
        self._reap()
        self._be_a_person()
        if self._gc:
            self._collect()

    def _kill(self) -> None:
        if not self._alive:
            return
        pid = self._rng.choice(sorted(self._alive))
        victims = [pid]
        if self._rng.random() < 0.5:
            victims += table.look().below([pid])
            self.kills_with_git += len(victims) > 1
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.kills += 1

    def _reap(self) -> None:
        for pid, slot in list(self._alive.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._alive[pid]
                if os.WIFSIGNALED(status):
                    self._spawn(slot)

    def _spawn(self, slot: int) -> None:
        pid = os.fork()
        if pid:
            self._alive[pid] = slot
            return
        code = 1
        try:
            (be_lander if slot == LANDER else be_worker)(self.yard, slot)
            code = 0
        except BaseException as error:  # the parent reads it in the log
            self.yard.log.write("F", slot, f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _be_a_person(self) -> None:
        """Who reads that a lock is in the way, sees no git at work, and removes it."""
        named = self.yard.scene.target.in_the_way().partition(" is in the way")[0]
        if named != self._stuck[0]:
            self._stuck = (named, time.monotonic())
        elif named and time.monotonic() - self._stuck[1] > PATIENCE_S:
            Path(named).unlink(missing_ok=True)
            self.removed += 1

    def _collect(self) -> None:
        if self._collector is not None and self._collector.poll() is None:
            return
        scene = self.yard.scene
        self._collector = subprocess.Popen(
            ["git", *COLLECT[self.collected // 2 % 2]],
            cwd=(scene.top, scene.hub.path)[self.collected % 2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.collected += 1

    def verdict(self, seed: int, seconds: float) -> Verdict:
        log, scene = self.yard.log, self.yard.scene
        made, ready = log.words("M"), log.words("R")
        landed = self.yard.landed(scene.target.tip() or "")
        reachable = set(git(scene.hub.path, "rev-list", "--all").split())
        return Verdict(
            seed=seed,
            seconds=round(seconds, 1),
            operations=log.count(),
            kills=self.kills,
            kills_with_git=self.kills_with_git,
            locks_removed_by_a_person=self.removed,
            collected=self.collected,
            made=len(made),
            landed=len(landed),
            failures=tuple(" ".join(words) for words in log.words("F")),
            lost=sum(words[-1] not in reachable for words in made),
            not_landed=sum(words[1] not in landed for words in ready),
            unclean=tuple(self._unclean()),
        )

    def _unclean(self) -> list[str]:
        scene = self.yard.scene
        scene.hub.tidy()
        said = [git(at, "fsck", "--full", "--no-dangling") for at in (scene.hub.path, scene.top)]
        said += [git(scene.top, "status", "--porcelain")]
        said += [str(path) for path in scene.hub.path.rglob("*.lock")]
        return [line for line in said if line]


def git_races(
    folder: Path, *, operations: int, kills: int, workers: int, seed: int, gc: bool
) -> Verdict:
    began = time.monotonic()
    races = Races(folder, workers, seed, gc=gc)
    races.run(operations, kills)
    return races.verdict(seed, time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gc", action="store_true", help="prune both repositories in a loop")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-git-", dir=Path.cwd()) as made:
        folder = Path(made)
        os.environ |= {"HOME": made, "GIT_CONFIG_NOSYSTEM": "1"}
        for name in ("AUTHOR", "COMMITTER"):
            os.environ |= {f"GIT_{name}_NAME": "agent", f"GIT_{name}_EMAIL": "agent@localhost"}
        verdict = git_races(
            folder,
            operations=options.operations,
            kills=options.kills,
            workers=options.workers,
            seed=options.seed,
            gc=options.gc,
        )
    sys.stdout.write(json.dumps(asdict(verdict)) + "\n")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
