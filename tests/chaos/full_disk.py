"""A disk that fills up at a random moment of a run; once there is room again, all of it lands.

    python -m tests.chaos.full_disk [--cases 200] [--seed 1] [--mb 64]

Repository, state and workspaces are on a small tmpfs, which is mounted in a namespace of its own
(`unshare -rm`, so no root is needed where users may have namespaces). Some time after the start of
`fleet run` whatever room is left is taken. The run must end by itself or hold its claims back, say
why, and never with a traceback; after the room was given back, the next run must land every task,
and the audit and `git fsck` must find nothing.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos import small_fleet
from tests.recovery.place import Place, a_place

INSIDE = "FLEET_TEST_FULL_DISK"
FLEET = [sys.executable, "-m", "fleet"]
HOLD_S = 6.0  # the disk stays full so long, or until the run has ended
GIVE_UP_S = 240.0
PIECE = 1 << 20


def namespace() -> list[str]:
    """What a command must be preceded by to mount for itself; [] where that is not allowed."""
    words = ["unshare", "-rm"]
    try:
        done = subprocess.run([*words, "true"], check=False, capture_output=True, timeout=30)
    except OSError:
        return []
    return words if done.returncode == 0 else []


def free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def fill(path: Path, leave: int, *, greedy: bool) -> None:
    """Take what is left, but for some bytes; if `greedy` also what others free meanwhile."""
    with path.open("wb") as file:
        left = free(path.parent) - leave
        size, piece = 0, PIECE
        while piece >= 4096:
            left = free(path) - leave if greedy else left
            if left < piece:
                piece //= 2
                continue
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
                left -= piece
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece //= 2


def case(folder: Path, rng: random.Random, tasks: int) -> tuple[str, str]:
    """How the run on the full disk ended, and what was wrong with that or with what followed."""
    place = a_place(folder)
    names = [f"t{n}" for n in range(tasks)]
    small_fleet.write_tasks(place, names, prompt="@sleep 0.3")
    config = place.top / "fleet.toml"
    config.write_text(
        config.read_text().replace("[gate]", "agents = 3\n[workspace]\nmin_free_mb = 24\n[gate]")
    )
    place.git("commit", "-qam", "settings")
    leave = rng.choice([0, 0, 0, 1_000_000, 20_000_000])
    at_work = rng.random() < 0.8  # else somewhere in its start
    ended, said = _run_and_fill(
        place,
        folder / "filler",
        rng.uniform(0.0, 3.0),
        leave,
        at_work=at_work,
        greedy=rng.random() < 0.3,
    )
    if "Traceback" in said:
        return ended, said[-1500:]
    done = _fleet(place, "run")
    if done.returncode != 0 or "Traceback" in done.stdout + done.stderr:
        return ended, f"afterwards: {done.returncode} {(done.stdout + done.stderr)[-1500:]}"
    audit = _fleet(place, "doctor", "--audit")
    if audit.returncode != 0:
        return ended, audit.stdout + audit.stderr
    missing = [task for task in names if not (place.top / f"{task}.txt").exists()]
    for git_dir in (place.layout.common_dir, place.layout.hub):
        place.git("fsck", "--no-dangling", git_dir=git_dir)
    return ended, f"{missing} have not landed" if missing else ""


def _run_and_fill(
    place: Place, filler: Path, after_s: float, leave: int, *, at_work: bool, greedy: bool
) -> tuple[str, str]:
    run = subprocess.Popen(
        [*FLEET, "run"],
        cwd=place.top,
        env=place.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    claims = place.layout.claim_lock("any").parent
    try:
        while at_work and run.poll() is None and not any(claims.glob("*.lock")):
            time.sleep(0.02)
        _await(run, after_s)
        fill(filler, leave, greedy=greedy)
        _await(run, HOLD_S)
        ended = run.poll() is not None
        filler.unlink()
        said, _ = run.communicate(timeout=GIVE_UP_S)
    finally:
        run.kill()
    full = "full" in said or "MB are free" in said
    how = f"exit {run.returncode}{' while full' if ended else ''}{', said so' if full else ''}"
    return how, said


def _await(run: subprocess.Popen[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _fleet(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLEET, *words],
        cwd=place.top,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mb", type=int, default=64)
    parser.add_argument("--tasks", type=int, default=6)
    options = parser.parse_args()
    if INSIDE not in os.environ:
        prefix = namespace()
        if not prefix:
            sys.stdout.write("nothing may be mounted here\n")
            return 77
        argv = [*prefix, sys.executable, "-m", "tests.chaos.full_disk", *sys.argv[1:]]
        os.execvpe(argv[0], argv, {**os.environ, INSIDE: "1"})
    return _inside(options.cases, options.seed, options.mb, options.tasks)


def _inside(cases: int, seed: int, mb: int, tasks: int) -> int:
    outcomes: Counter[str] = Counter()
    wrong = 0
    folder = Path(tempfile.mkdtemp(prefix="fleet-full-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", str(folder)], check=True)
    try:
        for number in range(cases):
            place = folder / str(number)
            place.mkdir()
            ended, fault = case(place, random.Random(f"{seed}/{number}"), tasks)
            outcomes[ended] += 1
            if fault:
                wrong += 1
                sys.stdout.write(f"case {number} ({ended}): {fault}\n")
                sys.stdout.flush()
            shutil.rmtree(place)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()
    sys.stdout.write(json.dumps({"seed": seed, "cases": cases, "wrong": wrong, **outcomes}) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
