"""Damage at random places of what a fleet keeps on disk; then it is run again and audited.

    python -m tests.chaos.corruption [--cases 1000] [--seed 1]

Three fleets are made once: one that has finished, one that was killed with work in every state,
and one whose results wait on fleet/landed. Each case copies one, damages a file of it (a flipped
bit, a page of zeros, a cut, an older copy, nothing left, garbage behind), and runs the fleet on.
It must end in one of

    harmless   all as if nothing had happened
    rebuilt    the damage was found, said, and mended
    refused    with an error that names what is wrong, and nothing was done

and never in `wrong`: a landed task lost or landed twice, one called landed that is not, a breach
of A1 to A6, anything but an error of ours.
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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.core.task import TaskState
from fleet.process.tree import ATTEMPT_MARK, kill_tree
from fleet.repo.branch import Target
from fleet.repo.history import landed
from fleet.wiring import Fleet
from tests.chaos import small_fleet
from tests.recovery.place import Place, a_place

PAGE = 4096
HARMLESS, REBUILT, REFUSED, WRONG = "harmless", "rebuilt", "refused", "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A fleet to be damaged, as it was at its end and some time before."""

    name: str
    kept: Path
    older: Path
    landed: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    scene: str
    damage: str
    outcome: str
    said: str


class Theatre:
    """One folder in which every scene is played, since paths are part of a fleet."""

    def __init__(self, folder: Path, tasks: int) -> None:
        self._folder = folder
        self._stage = folder / "stage"
        self._stage.mkdir()
        self.place = a_place(self._stage)
        small_fleet.write_tasks(self.place, [f"t{n}" for n in range(tasks)])
        self._blank = self._keep("blank")
        self.scenes = [
            self._finished(),
            self._killed(),
            self._waiting(),
        ]

    def play(self, scene: Scene) -> None:
        self._restore(scene.kept)

    def _finished(self) -> Scene:
        early = self._early()
        _in_child(lambda: _whole(small_fleet.run(self.place)))
        return self._scene("finished", early)

    def _killed(self) -> Scene:
        """Some landed, one proven and not landed, one killed while its agent was at work."""
        self._restore(self._blank)
        early = self._early()
        pid = _fork(lambda: _whole(small_fleet.run(self.place, enough=_one_is_submitted)))
        os.waitpid(pid, 0)
        slow = self.place.top / "tasks" / "slow.toml"
        slow.write_text(
            '[[tasks]]\nid = "slow"\npriority = 0\n'
            'prompt = """@write slow.txt\nslow\n@end\n@on 1\n@sleep 60\n@always"""\n'
        )
        pid = _fork(lambda: _whole(small_fleet.run(self.place)))
        written = self.place.layout.workspace("slow", 1) / "work" / "slow.txt"
        while not written.exists():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kill_tree(mark=ATTEMPT_MARK, value=self.place.layout.mark("slow", 1))
        return self._scene("killed", early)

    def _waiting(self) -> Scene:
        """The checkout has changes of its own, so results wait."""
        self._restore(self._blank)
        early = self._early()
        (self.place.top / "base.txt").write_text("mine\n")
        _in_child(lambda: _whole(small_fleet.run(self.place)))
        return self._scene("waiting", early)

    def _early(self) -> Path:
        _in_child(lambda: _whole(small_fleet.run(self.place, enough=_one_has_landed)))
        return self._keep(f"early-{time.monotonic_ns()}")

    def _scene(self, name: str, early: Path) -> Scene:
        done = frozenset(_landed(self.place))
        return Scene(name=name, kept=self._keep(name), older=early, landed=done)

    def _keep(self, name: str) -> Path:
        shutil.copytree(self._stage, self._folder / name, symlinks=True)
        return self._folder / name

    def _restore(self, kept: Path) -> None:
        shutil.rmtree(self._stage)
        shutil.copytree(kept, self._stage, symlinks=True)


def _one_has_landed(fleet: Fleet) -> bool:
    return fleet.roster.counts().merged > 0


def _one_is_submitted(fleet: Fleet) -> bool:
    counts = fleet.roster.counts()
    return counts.merged > 0 and counts.of(TaskState.SUBMITTED) > 0


def _whole(fault: str) -> None:
    assert not fault, fault


def _landed(place: Place) -> Counter[str]:
    target = Target(place.layout.common_dir, "main")
    tips = [commit for commit in dict.fromkeys(target.tips()) if commit]
    return Counter(entry.task for entry in landed(target.git, tips))


def victims(place: Place) -> list[Path]:
    """Every file of ours that could be hit; objects of git have checksums of their own."""
    state = place.layout.state
    found = [path for path in state.glob("*") if path.is_file()]
    for folder in ("claims", "workers", "slots", "attempts", "logs"):
        found += [path for path in (state / folder).rglob("*") if path.is_file()]
    hub = place.layout.hub
    found += [path for path in (hub / "refs").rglob("*") if path.is_file()]
    found += [hub / "packed-refs", hub / "HEAD", hub / "config"]
    users = place.layout.common_dir / "refs"
    found += [path for path in users.rglob("fleet/**/*") if path.is_file()]
    return sorted(path for path in found if path.is_file() and path.name != "reserve")


def damage(path: Path, older: Path, rng: random.Random) -> str:
    """Hurt a file in one of six ways; which one."""
    data = bytearray(path.read_bytes())
    how = rng.choice(["flip", "zero", "cut", "older", "gone", "garbage"])
    at = rng.randrange(len(data)) if data else 0
    if how == "flip" and data:
        data[at] ^= 1 << rng.randrange(8)
    elif how == "zero":
        start = at - at % PAGE
        data[start : start + PAGE] = bytes(len(data[start : start + PAGE]))
    elif how == "cut":
        del data[at:]
    elif how == "older" and older.is_file():
        data[:] = older.read_bytes()
    elif how == "garbage":
        data += rng.randbytes(rng.choice([1, 41, PAGE]))
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data)
    return how


def _judge(place: Place, scene: Scene) -> tuple[str, str]:
    """Run the fleet on, and see what it came to. In a process of its own."""
    told = _Told()
    logging.getLogger().addHandler(told)
    before = place.git("rev-parse", "main")
    try:
        fault = small_fleet.run(place)
        wrong = _wrong(place, scene)
    except FleetError as error:
        lost = scene.landed - set(_landed(place))
        if lost:
            return WRONG, f"{sorted(lost)} are lost: {error}"
        moved = place.git("rev-parse", "main") != before
        return REFUSED, f"{'after landing: ' if moved else ''}{error}"
    except Exception as error:
        import traceback

        return WRONG, "".join(traceback.format_exception(error)[-3:])
    if wrong:
        return WRONG, wrong
    if fault:
        return REFUSED, fault
    return (REBUILT, told.text) if told.text else (HARMLESS, "")


def _wrong(place: Place, scene: Scene) -> str:
    landings = _landed(place)
    twice = [task for task, number in landings.items() if number > 1]
    lost = scene.landed - set(landings)
    states = place.states()
    false = [
        task for task, (state, _) in states.items() if state == "merged" and not landings[task]
    ]
    open_ = [task for task, (state, _) in states.items() if state != "merged"]
    breaches = [str(breach) for breach in place.breaches()]
    said = (("twice", twice), ("lost", sorted(lost)), ("falsely landed", false))
    return "; ".join(
        f"{what}: {found}"
        for what, found in (*said, ("open", open_), ("breaches", breaches))
        if found
    )


class _Told(logging.Handler):
    """What a person was told of a rebuilt ledger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("fleet.recovery"):
            self.text += record.getMessage()


def _fork(act: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        act()
        code = 0
    except BaseException as error:  # the parent sees only the exit code
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(code)


def _in_child(act: Callable[[], None]) -> None:
    """So that nothing is remembered from one case to the next."""
    _, status = os.waitpid(_fork(act), 0)
    assert status == 0, status


def case(theatre: Theatre, number: int, seed: int) -> Case:
    rng = random.Random(f"{seed}/{number}")
    scene = theatre.scenes[number % len(theatre.scenes)]
    theatre.play(scene)
    place = theatre.place
    found = victims(place)
    databases = [path for path in found if path.name.startswith("state.db")]
    path = rng.choice(databases if number % 2 else found)
    name = path.relative_to(place.layout.common_dir)
    how = damage(path, scene.older / path.relative_to(place.top.parent), rng)
    answer = theatre.place.top.parent.parent / "answer"
    answer.unlink(missing_ok=True)
    _in_child(lambda: _write(answer, _judge(place, scene)))
    outcome, said = json.loads(answer.read_text())
    return Case(scene=scene.name, damage=f"{how} {name}", outcome=outcome, said=said)


def _write(answer: Path, value: Sequence[str]) -> None:
    answer.write_text(json.dumps(value))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.lastResort = None
    outcomes: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fleet-corruption-") as folder:
        theatre = Theatre(Path(folder), options.tasks)
        for number in range(options.first, options.first + options.cases):
            found = case(theatre, number, options.seed)
            outcomes[found.outcome] += 1
            if found.outcome in (WRONG, REFUSED):
                refused[f"{found.outcome}: {found.damage}: {found.said[-300:]}"] += 1
                if found.outcome == WRONG:
                    sys.stdout.write(f"case {number}: {found}\n")
                    sys.stdout.flush()
    sys.stdout.write(json.dumps({"seed": options.seed, **outcomes}) + "\n")
    for line, times in refused.most_common(60):
        sys.stdout.write(f"{times:5} {line}\n")
    return 1 if outcomes[WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
