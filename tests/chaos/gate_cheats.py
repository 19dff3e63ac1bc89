"""Every cheat, every honest change, and generated pairs that pass alone and fail together.

    scripts/gate-cheats [--pairs 100] [--seed 1]

Prints what became of each, and ends in 1 when a cheat or a pair landed or an honest change did
not. All of it goes the way of a real attempt: merge, policy, checks in a clean checkout, verdict.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.builders import a_task
from tests.gate.cheats.catalogue import CHEATS
from tests.gate.cheats.honest import HONEST
from tests.gate.cheats.pairs import a_pair
from tests.gate.cheats.stage import Judged, Stage

WORDS = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        cheated = _cheats(stage)
        refused = _honest(stage)
        paired = _pairs(stage, asked.pairs, random.Random(asked.seed))
        stage.db.close()
    _say(
        f"\n{cheated} of {len(CHEATS)} cheats landed or were stopped by something else, "
        f"{refused} of {len(HONEST)} honest changes were refused, "
        f"{paired} of {asked.pairs} pairs went wrong (seed {asked.seed}); "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if cheated or refused or paired else 0


def _cheats(stage: Stage) -> int:
    wrong = 0
    for cheat in CHEATS:
        judged = stage.judge(cheat.change, commands=cheat.commands)
        good = not judged.lands and cheat.says in judged.words
        wrong += not good
        _tell("cheat", cheat.name, good, judged)
    return wrong


def _honest(stage: Stage) -> int:
    wrong = 0
    for honest in HONEST:
        task = a_task("one", **honest.task)
        judged = stage.judge(honest.files, task, commands=honest.commands)
        touched = judged.report.touched if judged.report else ()
        good = judged.lands and set(honest.touched) <= set(touched)
        wrong += not good
        _tell("honest", honest.name, good, judged)
    return wrong


def _pairs(stage: Stage, count: int, rng: random.Random) -> int:
    became: Counter[tuple[str, bool]] = Counter()
    for _ in range(count):
        pair = a_pair(rng)
        one = stage.commit(pair.one)
        alone = stage.judge({}, head=one).lands and stage.judge(pair.other).lands
        together = stage.judge(pair.other, on=one)
        became[pair.name, alone and not together.lands] += 1
    for (name, good), number in sorted(became.items()):
        _say(f"{'ok' if good else 'WRONG':6}pair    {name}: {number}")
    return sum(number for (_, good), number in became.items() if not good)


def _tell(kind: str, name: str, good: bool, judged: Judged) -> None:
    words = " ".join(judged.words.split())[:WORDS]
    _say(f"{'ok' if good else 'WRONG':6}{kind:8}{name:52}{words}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
